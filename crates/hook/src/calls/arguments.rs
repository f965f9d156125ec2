//! Arguments of helpers: `check_func_arg()` in kernel/bpf/verifier.c.

use knobgate_bpf::{MapKind, Reg};

use super::{Called, Helper};
use crate::machine::{Machine, Reason, Region, Value};

/// Sizes beyond this are negative numbers: `BPF_MAX_VAR_SIZ`.
const SIZE_MAX: u64 = 1 << 29;

impl Machine<'_, '_> {
    fn argument(
        &self,
        helper: Helper,
        register: Reg,
        wanted: &'static str,
        fits: impl FnOnce(Region) -> bool,
    ) -> Called {
        let value = self.read(register)?;
        if fits(value.region) {
            return Ok(value);
        }
        Err(Reason::Argument {
            helper: helper.name(),
            register: register.number(),
            wanted,
            found: value.region,
        })
    }

    pub(super) fn number_argument(&self, helper: Helper, register: Reg) -> Called<u64> {
        self.argument(helper, register, "a number", |region| region == Region::Number).map(|value| value.bits)
    }

    pub(super) fn context_argument(&self, helper: Helper, register: Reg) -> Called<()> {
        self.argument(helper, register, "the context", |region| region == Region::Context).map(|_| ())
    }

    /// The index in the run of a map.
    pub(super) fn map_argument(&self, helper: Helper, register: Reg) -> Called<u16> {
        let value = self.argument(helper, register, "a map", |region| matches!(region, Region::Map(_)))?;
        if let Region::Map(map) = value.region { Ok(map) } else { Err(Reason::Null) }
    }

    /// The first instruction of a function.
    pub(super) fn function_argument(&self, helper: Helper, register: Reg) -> Called<u32> {
        let is_function = |region| matches!(region, Region::Function(_));
        let value = self.argument(helper, register, "a function", is_function)?;
        if let Region::Function(start) = value.region { Ok(start) } else { Err(Reason::Null) }
    }

    /// What is handed to a callback: a pointer to the stack, or null.
    pub(super) fn callback_context(&self, helper: Helper, register: Reg) -> Called {
        let value = self.read(register)?;
        if value.is_number() && value.bits == 0 {
            return Ok(value);
        }
        self.argument(helper, register, "the stack or null", |region| region == Region::Stack)
    }

    /// A pointer to memory; whether it is large enough, its use tells.
    pub(super) fn pointer_argument(&self, helper: Helper, register: Reg) -> Called {
        let value = self.read(register)?;
        if value.is_number() && value.bits == 0 {
            return Err(Reason::Null);
        }
        self.argument(helper, register, "memory", Region::has_offsets)
    }

    /// A number of bytes; 0 only where `zero` says that it may be.
    pub(super) fn size_argument(&self, helper: Helper, register: Reg, zero: bool) -> Called<usize> {
        let size = self.number_argument(helper, register)?;
        if size >= SIZE_MAX || (size == 0 && !zero) {
            let register = register.number();
            return Err(Reason::Size { helper: helper.name(), register, size: size as i64 });
        }
        Ok(size as usize)
    }

    /// Copies the bytes that a pointer and a size name.
    pub(super) fn bytes_argument(&mut self, pointer: Value, size: usize) -> Called<Vec<u8>> {
        if size == 0 {
            return Ok(Vec::new());
        }
        self.memory.read(pointer, size, <[u8]>::to_vec)
    }

    /// Whether `helper` takes such a map: `check_map_func_compatibility()`.
    pub(super) fn check_map_kind(&self, helper: Helper, map: u16) -> Called<()> {
        use MapKind::{
            Array, CgroupArray, CgroupStorage, Hash, LpmTrie, LruHash, LruPercpuHash, PercpuArray,
            PercpuCgroupStorage, PercpuHash, PerfEventArray, ProgArray, Queue, Ringbuf, Stack,
        };
        let kind = self.memory.maps[usize::from(map)].state().def().kind;
        let fits = match helper {
            Helper::TAIL_CALL => kind == ProgArray,
            Helper::CURRENT_TASK_UNDER_CGROUP => kind == CgroupArray,
            Helper::GET_LOCAL_STORAGE => matches!(kind, CgroupStorage | PercpuCgroupStorage),
            Helper::FOR_EACH_MAP_ELEM => {
                matches!(kind, Array | PercpuArray | Hash | PercpuHash | LruHash | LruPercpuHash)
            }
            Helper::MAP_LOOKUP_ELEM | Helper::MAP_UPDATE_ELEM | Helper::MAP_DELETE_ELEM => {
                matches!(kind, Array | PercpuArray | Hash | PercpuHash | LruHash | LruPercpuHash | LpmTrie)
            }
            Helper::MAP_LOOKUP_PERCPU_ELEM => matches!(kind, PercpuArray | PercpuHash | LruPercpuHash),
            Helper::MAP_PUSH_ELEM | Helper::MAP_POP_ELEM | Helper::MAP_PEEK_ELEM => {
                matches!(kind, Queue | Stack)
            }
            Helper::PERF_EVENT_OUTPUT => kind == PerfEventArray,
            _ => kind == Ringbuf,
        };
        if fits { Ok(()) } else { Err(Reason::MapKind { helper: helper.name(), kind: kind.name() }) }
    }
}
