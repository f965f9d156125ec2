//! The arguments of helpers: `check_func_arg()`. One table says which registers fit a type of argument
//! (`compatible_reg_types`), and one match what else is asked of it.

use knobgate_bpf::{ArgType, Helper, MapKind, Reg, Size};

use super::check::Verifier;
use super::env::BPF_MAX_VAR_SIZ;
use super::memory::{check_fixed_offset, check_map_direction, check_struct_offset};
use super::register::{Kind, Register};
use super::stack::place;
use super::violation::Violation;

/// What the arguments of one call have in common: `struct bpf_call_arg_meta`.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// The map, if one was given.
    pub(super) map: Option<u16>,
    /// The key, if it is a known index.
    pub(super) key: Option<u64>,
    /// The size of a record to reserve.
    pub(super) record_size: u32,
    /// The function to call back, by its first instruction.
    pub(super) callback: Option<usize>,
    /// The constant string, without its NUL.
    pub(super) string: Vec<u8>,
    /// The id of the dynptr that was given.
    pub(super) dynptr: u32,
    /// The most bytes that a helper writes or reads.
    pub(super) size_max: u64,
    /// The register and the reference of a record to release.
    pub(super) released: Option<(Reg, u32)>,
}

/// Memory that a helper reads or writes.
#[derive(Debug, Clone, Copy)]
struct Use {
    may_be_empty: bool,
    writes: bool,
    /// Whether the helper writes all of it, so that it may be uninitialized.
    fills: bool,
}

const READ: Use = Use { may_be_empty: false, writes: false, fills: false };

/// The types of registers that fit, as the kernel lists them: `mem_types` and the others.
const fn expected(arg_type: ArgType) -> &'static str {
    use ArgType as A;
    match arg_type {
        A::Anything | A::UnsafePtr => "",
        A::Dynptr | A::UninitDynptr | A::RingbufDynptr => "fp, dynptr_ptr",
        A::Ctx => "ctx",
        A::ConstMapPtr => "map_ptr",
        A::MapKey
        | A::MapValue
        | A::UninitMapValue
        | A::Mem
        | A::MemOrNull
        | A::WritableMem
        | A::UninitMem
        | A::WritableMemOrNull
        | A::UninitLong => "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
        A::ConstSize | A::ConstSizeOrZero | A::ConstAllocSizeOrZero => "scalar",
        A::RingbufMem => "ringbuf_mem",
        A::Func => "func",
        A::StackOrNull => "fp",
        A::ConstStr => "map_value",
        A::SpinLock => "map_value, ptr_",
    }
}

/// Whether a register fits a type of argument: `check_reg_type()`.
fn fits(register: &Register, arg_type: ArgType) -> bool {
    use ArgType as A;
    if register.kind == Kind::Unknown {
        return arg_type != A::SpinLock;
    }
    let is_memory = !register.maybe_null
        && matches!(
            register.kind,
            Kind::Stack(_)
                | Kind::MapKey(_)
                | Kind::MapValue(_)
                | Kind::Record(_)
                | Kind::Memory(_)
                | Kind::BtfId(_, true)
        );
    match arg_type {
        A::Anything | A::UnsafePtr => true,
        A::Dynptr | A::UninitDynptr | A::RingbufDynptr => matches!(register.kind, Kind::Stack(_)),
        A::Ctx => register.kind == Kind::Context,
        A::ConstMapPtr => matches!(register.kind, Kind::Map(_)),
        A::MemOrNull | A::WritableMemOrNull => {
            is_memory
                || register.is_null()
                || matches!(register.kind, Kind::MapValue(_) | Kind::Record(_) | Kind::Memory(_))
        }
        A::MapKey
        | A::MapValue
        | A::UninitMapValue
        | A::Mem
        | A::WritableMem
        | A::UninitMem
        | A::UninitLong => is_memory,
        A::ConstSize | A::ConstSizeOrZero | A::ConstAllocSizeOrZero => register.is_scalar(),
        A::RingbufMem => matches!(register.kind, Kind::Record(_)) && !register.maybe_null,
        A::Func => matches!(register.kind, Kind::Function(_)),
        A::StackOrNull => matches!(register.kind, Kind::Stack(_)) || register.is_null(),
        A::ConstStr | A::SpinLock => matches!(register.kind, Kind::MapValue(_)) && !register.maybe_null,
    }
}

impl Verifier<'_> {
    /// Checks the argument of this type in a register; `before` is the type of the one before it.
    pub(super) fn check_argument(
        &mut self,
        register: Reg,
        arg_type: ArgType,
        before: Option<ArgType>,
        arguments: &mut Arguments,
        helper: &'static Helper,
    ) -> Result<(), Violation> {
        use ArgType as A;
        let value = self.read(register)?;
        if matches!(arg_type, A::Anything | A::UnsafePtr) {
            return Ok(());
        }
        let number = register.number();
        if !fits(&value, arg_type) {
            let (found, expected) = (value.type_name(), expected(arg_type));
            return Err(Violation::ArgumentType { register: number, found, expected });
        }
        if arg_type == A::RingbufMem {
            if value.off != 0 {
                return Err(Violation::ReleaseOffset { register: number });
            }
            check_fixed_offset(&value, register)?;
            if value.reference == 0 {
                return Err(Violation::NotReferenced { register: number });
            }
            arguments.released = Some((register, value.reference));
            return Ok(());
        }
        if matches!(value.kind, Kind::Context | Kind::Map(_) | Kind::Function(_)) {
            check_fixed_offset(&value, register)?;
        }
        let map_def = arguments.map.map(|map| self.env.maps[usize::from(map)]);
        match arg_type {
            A::ConstMapPtr => {
                if let Kind::Map(map) = value.kind {
                    arguments.map = Some(map);
                }
                Ok(())
            }
            A::MapKey => {
                let Some(map) = map_def else { return Ok(()) };
                self.check_memory(register, map.key_size, READ)?;
                if matches!(map.kind, MapKind::Array | MapKind::PercpuArray) {
                    arguments.key = self.constant_key(&value);
                }
                Ok(())
            }
            A::MapValue => match map_def {
                Some(map) => self.check_memory(register, map.value_size, READ),
                None => Ok(()),
            },
            A::UninitMapValue => match map_def {
                Some(map) => {
                    self.check_memory(register, map.value_size, Use { writes: true, fills: true, ..READ })
                }
                None => Ok(()),
            },
            A::UninitLong => {
                self.check_memory(register, 8, Use { writes: true, fills: true, ..READ })?;
                self.check_long_alignment(&value)
            }
            A::ConstSize | A::ConstSizeOrZero => {
                let may_be_empty = arg_type == A::ConstSizeOrZero;
                let (writes, fills) = match before {
                    Some(A::WritableMem | A::WritableMemOrNull) => (true, false),
                    Some(A::UninitMem) => (true, true),
                    _ => (false, false),
                };
                arguments.size_max = value.scalar.unsigned.max;
                self.check_size(register, &value, Use { may_be_empty, writes, fills })
            }
            A::ConstAllocSizeOrZero => {
                let Some(size) = value.known() else {
                    return if value.is_scalar() {
                        Err(Violation::NotConstant { register: number })
                    } else {
                        Ok(())
                    };
                };
                arguments.record_size = size as u32;
                self.mark_precise(register);
                Ok(())
            }
            A::Func => {
                if let Kind::Function(start) = value.kind {
                    arguments.callback = Some(start as usize);
                }
                Ok(())
            }
            A::ConstStr => {
                arguments.string = self.check_constant_string(register, &value)?;
                Ok(())
            }
            // The size after it says how much is used.
            A::Mem | A::MemOrNull | A::WritableMem | A::UninitMem | A::WritableMemOrNull => Ok(()),
            A::Dynptr | A::UninitDynptr | A::RingbufDynptr => {
                arguments.dynptr = self.check_dynptr(register, arg_type, helper)?;
                Ok(())
            }
            A::SpinLock => self.use_lock(register, helper),
            A::Anything | A::UnsafePtr | A::Ctx | A::RingbufMem | A::StackOrNull => Ok(()),
        }
    }

    /// `check_helper_mem_access()`
    fn check_memory(&mut self, register: Reg, size: u32, how: Use) -> Result<(), Violation> {
        let value = self.state.get(register);
        let Use { may_be_empty, writes, fills } = how;
        let number = register.number();
        match value.kind {
            Kind::Stack(_) => self.check_stack_argument(register, size, may_be_empty, writes, fills),
            Kind::MapKey(_) if writes => {
                Err(Violation::WriteArgument { register: number, of: value.type_name() })
            }
            Kind::MapKey(map) => {
                let key_size = self.env.maps[usize::from(map)].key_size;
                self.check_region(register, &value, value.off, size, key_size, false)
            }
            Kind::MapValue(map) if !value.maybe_null => {
                check_map_direction(self.env, map, value.off, size, writes)?;
                self.check_map_value(register, &value, value.off, size, may_be_empty)
            }
            Kind::Record(memory) if !value.maybe_null => {
                self.check_region(register, &value, value.off, size, memory, may_be_empty)
            }
            Kind::Memory(memory) if !value.maybe_null => {
                self.check_region(register, &value, value.off, size, memory, may_be_empty)
            }
            Kind::BtfId(..) if writes => Err(Violation::StructWrite),
            Kind::BtfId(name, _) => {
                check_struct_offset(register, &value, value.off, name)?;
                self.check_struct_end(name, value.off, size)
            }
            Kind::Unknown => Ok(()),
            _ if may_be_empty && size == 0 && value.is_null() => Ok(()),
            _ => Err(Violation::ArgumentType { register: number, found: value.type_name(), expected: "fp" }),
        }
    }

    /// The size of the memory in the register before: `check_mem_size_reg()`.
    fn check_size(&mut self, register: Reg, size: &Register, how: Use) -> Result<(), Violation> {
        if !size.is_scalar() {
            return Ok(());
        }
        let number = register.number();
        let bounds = size.scalar.unsigned;
        if size.scalar.signed.min < 0 {
            return Err(Violation::NegativeSize { register: number });
        }
        let memory = Reg::ALL[usize::from(number) - 1];
        // Memory of a size that is not known is not filled.
        let how = Use { fills: how.fills && size.scalar.known().is_some(), ..how };
        if bounds.min == 0 && !how.may_be_empty {
            return Err(Violation::ZeroSize { register: number, min: bounds.min, max: bounds.max });
        }
        if bounds.max >= BPF_MAX_VAR_SIZ {
            return Err(Violation::UnboundedSize { register: number });
        }
        self.check_memory(memory, bounds.max as u32, how)?;
        self.mark_precise(register);
        Ok(())
    }

    /// The known index that a key on the stack holds: `get_constant_map_key()`.
    fn constant_key(&mut self, key: &Register) -> Option<u64> {
        let Kind::Stack(frame) = key.kind else { return None };
        let off = i64::from(key.off) + key.scalar.known()? as i64;
        let (number, byte) = place(off);
        let slot = *self.state.frames[usize::from(frame)].stack.get(number)?;
        if slot.bytes[byte..].starts_with(&[super::stack::Byte::Zero; 4]) {
            return Some(0);
        }
        let is_whole = byte == 0 && slot.is_spilled_scalar() && slot.spill_size() == 4;
        let value = slot.spilled.known().filter(|_| is_whole)?;
        self.mark_slot_precise(usize::from(frame), number);
        Some(value)
    }

    /// A `long` that a helper writes is aligned, as far as that is known (`MEM_ALIGNED`).
    fn check_long_alignment(&self, value: &Register) -> Result<(), Violation> {
        let off = super::bits::Bits::constant(i64::from(value.off) as u64);
        let size = Size::U64.bytes();
        if value.var_off().add(off).is_aligned(size) {
            return Ok(());
        }
        let of = match value.kind {
            Kind::Stack(_) => "stack ",
            Kind::MapValue(_) | Kind::MapKey(_) => "value ",
            _ => "",
        };
        let var_off = value.var_off().to_string();
        Err(Violation::Misaligned { of, var_off, off: value.off, insn_off: 0, size })
    }

    /// `check_reg_const_str()`
    fn check_constant_string(&mut self, register: Reg, value: &Register) -> Result<Vec<u8>, Violation> {
        let number = register.number();
        let Kind::MapValue(map) = value.kind else { return Ok(Vec::new()) };
        let def = self.env.maps[usize::from(map)];
        if !def.frozen {
            return Err(Violation::NotReadOnly { register: number });
        }
        let Some(known) = value.scalar.known() else {
            return Err(Violation::NotConstantAddress { register: number });
        };
        let Some(text) = &self.env.frozen[usize::from(map)] else { return Err(Violation::NoDirectValue) };
        let left = (i64::from(def.value_size) - i64::from(value.off)) as u32;
        self.check_map_value(register, value, value.off, left, false)?;
        let start = usize::try_from(i64::from(value.off) + known as i64).unwrap_or(usize::MAX);
        let text = text.get(start..).unwrap_or_default();
        let end = text.iter().position(|byte| *byte == 0).ok_or(Violation::NotTerminated)?;
        Ok(text[..end].to_vec())
    }
}
