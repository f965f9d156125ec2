//! Calls of helpers: `check_helper_call()`.

use knobgate_bpf::{Helper, MapKind, Reg, ReturnType, Size, helper_ids};

use super::arguments::Arguments;
use super::check::{Next, Verifier};
use super::register::{Kind, Register, ScalarId};
use super::return_value::check_retval;
use super::scalar::Scalar;
use super::state::{Frame, Reference};
use super::violation::Violation;
use crate::machine::is_valid_format;

impl Verifier<'_> {
    pub(super) fn call_helper(&mut self, helper: &'static Helper) -> Result<Next, Violation> {
        self.state.check_helper_with_lock(helper)?;
        let mut arguments = Arguments::default();
        let mut before = None;
        for (register, arg_type) in Reg::ALL[1..].iter().zip(helper.args()) {
            self.check_argument(*register, *arg_type, before, &mut arguments, helper)?;
            before = Some(*arg_type);
        }
        if let Some(map) = arguments.map {
            check_map_kind(helper, self.env.maps[usize::from(map)].kind)?;
        }
        match helper.id {
            helper_ids::TAIL_CALL if !self.state.references.is_empty() => {
                return Err(Violation::TailCallLeak);
            }
            helper_ids::GET_LOCAL_STORAGE if !self.state.get(Reg::R2).is_null() => {
                return Err(Violation::StorageFlags);
            }
            helper_ids::DYNPTR_FROM_MEM
                if !matches!(self.state.get(Reg::R1).kind, Kind::MapValue(_) | Kind::Unknown) =>
            {
                return Err(Violation::DynptrMemory { found: self.state.get(Reg::R1).type_name() });
            }
            helper_ids::SNPRINTF => {
                // `check_bpf_snprintf_call()`
                let size = self.state.get(Reg::R5).scalar.bits.value;
                if !size.is_multiple_of(8) {
                    return Err(Violation::SnprintfData { size });
                }
                if !is_valid_format(&arguments.string, size as usize / 8, self.env.profile) {
                    return Err(Violation::Format);
                }
            }
            helper_ids::SET_RETVAL if self.env.profile.set_retval_checked => {
                check_retval(&self.state.get(Reg::R1))?;
            }
            _ => {}
        }
        if let Some((_, reference)) = arguments.released {
            self.release(reference);
        }
        let callee = match arguments.callback {
            Some(start) => self.callback(helper, start, &arguments)?,
            None => None,
        };
        let returned = self.returned(helper, &arguments);
        let frame = self.state.frame_mut();
        frame.clobber_arguments();
        frame.registers[0] = returned;
        let insn = self.state.insn;
        if helper.id == helper_ids::TAIL_CALL && self.state.top() > 0 && self.env.profile.version >= (6, 18) {
            return self.tail_call_in_function();
        }
        let Some(callee) = callee else { return Ok(Next::Insn(insn + 1)) };
        if self.env.profile.version < (6, 7) {
            // The callback is followed once, and then the caller goes on.
            let start = callee.start;
            self.state.frames.push(callee);
            return Ok(Next::Insn(start));
        }
        Ok(Next::Insn(insn + 1))
    }

    /// A function that makes a tail call returns what the other program returns, or goes on if there is none ("bpf:
    /// properly verify tail call behavior"; observed on 6.18.44). Before, verifiers only knew that it goes on.
    fn tail_call_in_function(&mut self) -> Result<Next, Violation> {
        let fails = self.state.clone();
        self.push(self.state.insn + 1, fails)?;
        self.state.frame_mut().registers[0] = Register::UNKNOWN;
        self.exit()
    }

    /// The frame of a callback that is to be followed, on kernels that follow it once. Newer ones follow it until its
    /// state does not change any more, as another branch: `push_callback_call()`.
    fn callback(
        &mut self,
        helper: &Helper,
        start: usize,
        arguments: &Arguments,
    ) -> Result<Option<Frame>, Violation> {
        if self.state.frames.len() >= self.env.profile.call_frames {
            return Err(Violation::TooDeep { frames: self.state.frames.len() + 1 });
        }
        let insn = self.state.insn;
        let instance = self.stack_liveness.instance(self.state.frame().instance, insn, start);
        let mut callee = Frame::new(start, insn, instance);
        callee.is_callback = true;
        let context = self.state.get(Reg::R3);
        match (helper.id, arguments.map) {
            (helper_ids::FOR_EACH_MAP_ELEM, Some(map)) => {
                callee.registers[1] = Register::pointer(Kind::Map(map));
                callee.registers[2] = Register::pointer(Kind::MapKey(map));
                callee.registers[3] = Register::pointer(Kind::MapValue(map));
                callee.registers[4] = context;
            }
            _ => {
                callee.registers[1] = Register::UNKNOWN;
                callee.registers[2] = context;
            }
        }
        if self.env.profile.version < (6, 7) {
            return Ok(Some(callee));
        }
        if helper.id == helper_ids::LOOP {
            let count = self.state.get(Reg::R1);
            if count.is_pointer() {
                return Err(Violation::PointerAsCount);
            }
            self.mark_precise(Reg::R1);
            if u64::from(self.state.frame().callback_depth) >= count.scalar.unsigned.max {
                self.state.frame_mut().callback_depth = 0;
                return Ok(None);
            }
        }
        let mut inside = self.state.clone();
        inside.frame_mut().callback_depth += 1;
        inside.callback_depth += 1;
        inside.frames.push(callee);
        self.push(start, inside)?;
        self.state.frame_mut().callback_depth = 0;
        Ok(None)
    }

    /// What is in r0 afterwards.
    fn returned(&mut self, helper: &Helper, arguments: &Arguments) -> Register {
        let Some(proto) = &helper.proto else { return Register::UNKNOWN };
        match (proto.ret, arguments.map) {
            (ReturnType::Void, _) => Register::UNINIT,
            (ReturnType::MapValue, Some(map)) => self.existing_value(map),
            (ReturnType::MapValueOrNull, Some(map)) => {
                if helper.id == helper_ids::MAP_LOOKUP_ELEM && self.is_never_null(map, arguments.key) {
                    return self.existing_value(map);
                }
                let value = Register::pointer(Kind::MapValue(map));
                Register { maybe_null: true, id: self.new_id(), ..value }
            }
            (ReturnType::RingbufMemOrNull, _) => {
                self.new_id();
                let (id, insn) = (self.new_id(), self.state.insn);
                self.state.references.push(Reference { id, insn });
                let record = Register::pointer(Kind::Record(arguments.record_size));
                Register { maybe_null: true, id, reference: id, ..record }
            }
            (ReturnType::Task, _) => Register::pointer(Kind::BtfId("task_struct", true)),
            (ReturnType::DynptrMemOrNull, _) => {
                let memory = Register::pointer(Kind::Memory(arguments.record_size));
                Register { maybe_null: true, id: self.new_id(), reference: arguments.dynptr, ..memory }
            }
            _ if matches!(helper.id, helper_ids::PROBE_READ_KERNEL_STR | helper_ids::PROBE_READ_USER_STR) => {
                Register::number(Scalar::errno_or_up_to(arguments.size_max))
            }
            _ if helper.id == helper_ids::GET_PRANDOM_U32 => Register::of_size(Size::U32),
            _ if helper.id == helper_ids::GET_SMP_PROCESSOR_ID && self.env.profile.version >= (6, 12) => {
                Register::number(Scalar::up_to(u64::from(self.env.cpus.max(1) - 1)))
            }
            _ => Register::UNKNOWN,
        }
    }

    /// Whether `bpf_map_lookup_elem` cannot return null, as for an array with a known index (`can_elide_value_nullness`,
    /// since 6.14).
    fn is_never_null(&self, map: u16, key: Option<u64>) -> bool {
        let def = self.env.maps[usize::from(map)];
        self.env.profile.version >= (6, 14)
            && matches!(def.kind, MapKind::Array | MapKind::PercpuArray)
            && key.is_some_and(|key| key < u64::from(def.max_entries))
    }

    /// Submits or discards a record. Its pointers become numbers: `release_reference()`.
    pub(super) fn release(&mut self, id: u32) {
        self.state.references.retain(|reference| reference.id != id);
        self.state.change(
            |held| held.reference == id,
            |held| *held = Register { link: ScalarId::NONE, ..Register::UNKNOWN },
        );
    }
}

/// Which helpers take which kinds of map: `check_map_func_compatibility()`.
fn check_map_kind(helper: &Helper, kind: MapKind) -> Result<(), Violation> {
    use helper_ids as id;
    let only = |ids: &[u32]| ids.contains(&helper.id);
    // What a map of this kind can be given to.
    let map_fits = match kind {
        MapKind::ProgArray => only(&[id::TAIL_CALL]),
        MapKind::PerfEventArray => {
            only(&[id::PERF_EVENT_READ, id::PERF_EVENT_OUTPUT, id::PERF_EVENT_READ_VALUE])
        }
        MapKind::Ringbuf => only(&[
            id::RINGBUF_OUTPUT,
            id::RINGBUF_RESERVE,
            id::RINGBUF_QUERY,
            id::RINGBUF_RESERVE_DYNPTR,
            id::RINGBUF_SUBMIT_DYNPTR,
            id::RINGBUF_DISCARD_DYNPTR,
        ]),
        MapKind::CgroupStorage | MapKind::PercpuCgroupStorage => only(&[id::GET_LOCAL_STORAGE]),
        MapKind::CgroupArray => only(&[id::CURRENT_TASK_UNDER_CGROUP]),
        MapKind::ArrayOfMaps | MapKind::HashOfMaps => only(&[id::MAP_LOOKUP_ELEM]),
        MapKind::Queue | MapKind::Stack => only(&[id::MAP_PEEK_ELEM, id::MAP_POP_ELEM, id::MAP_PUSH_ELEM]),
        _ => true,
    };
    // What the helper takes.
    let helper_fits = match helper.id {
        id::TAIL_CALL => kind == MapKind::ProgArray,
        id::PERF_EVENT_READ | id::PERF_EVENT_OUTPUT | id::PERF_EVENT_READ_VALUE => {
            kind == MapKind::PerfEventArray
        }
        id::RINGBUF_OUTPUT | id::RINGBUF_RESERVE | id::RINGBUF_QUERY | id::RINGBUF_RESERVE_DYNPTR => {
            kind == MapKind::Ringbuf
        }
        id::GET_LOCAL_STORAGE => matches!(kind, MapKind::CgroupStorage | MapKind::PercpuCgroupStorage),
        id::CURRENT_TASK_UNDER_CGROUP => kind == MapKind::CgroupArray,
        id::MAP_PEEK_ELEM | id::MAP_POP_ELEM | id::MAP_PUSH_ELEM => {
            matches!(kind, MapKind::Queue | MapKind::Stack)
        }
        id::MAP_LOOKUP_PERCPU_ELEM => {
            matches!(kind, MapKind::PercpuArray | MapKind::PercpuHash | MapKind::LruPercpuHash)
        }
        _ => true,
    };
    if !map_fits || !helper_fits {
        return Err(Violation::MapKind { map_type: kind.number(), name: helper.name, id: helper.id });
    }
    let has_callback = matches!(
        kind,
        MapKind::Array
            | MapKind::PercpuArray
            | MapKind::Hash
            | MapKind::PercpuHash
            | MapKind::LruHash
            | MapKind::LruPercpuHash
    );
    if helper.id == id::FOR_EACH_MAP_ELEM && !has_callback {
        return Err(Violation::MapWithoutCallback);
    }
    Ok(())
}
