//! Loads and stores: `check_mem_access()` and what it calls.

use knobgate_bpf::uapi::BPF_F_WRONLY_PROG;
use knobgate_bpf::{MapKind, MemberType, Operand, Reg, Size, Width};

use super::check::Verifier;
use super::env::{BPF_MAX_VAR_OFF, VerifierEnv};
use super::register::{Kind, Register};
use super::stack_access::Stored;
use super::violation::{OutOfBounds, Violation};
use crate::arithmetic;
use crate::context::{AccessType, sysctl_is_valid_access};
use crate::task_btf::member_at;

/// An access through a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// The register of the pointer.
    pub(super) base: Reg,
    /// The offset in the instruction.
    pub(super) off: i16,
    pub(super) size: Size,
    /// Whether it has to be aligned wherever it is, like atomic operations.
    pub(super) aligned: bool,
}

impl Verifier<'_> {
    /// `dst = *(size *)(base + off)`
    pub(super) fn load(
        &mut self,
        size: Size,
        signed: bool,
        dst: Reg,
        base: Reg,
        off: i16,
    ) -> Result<(), Violation> {
        self.read(base)?;
        self.check_written(dst)?;
        let loaded = self.check_load(Access { base, off, size, aligned: false }, signed)?;
        self.check_same_pointers(base)?;
        self.state.set(dst, loaded);
        Ok(())
    }

    /// `*(size *)(base + off) = operand`
    pub(super) fn store(
        &mut self,
        size: Size,
        base: Reg,
        off: i16,
        operand: Operand,
    ) -> Result<(), Violation> {
        if let Operand::Reg(src) = operand {
            self.read(src)?;
        }
        let pointer = self.read(base)?;
        if pointer.kind == Kind::Context && matches!(operand, Operand::Imm(_)) && !self.env.profile.st_ctx {
            return Err(Violation::StoreToContext { register: base.number() });
        }
        let stored = match operand {
            Operand::Reg(src) => Stored::Register(src),
            Operand::Imm(imm) => Stored::Constant(imm),
        };
        self.check_store(Access { base, off, size, aligned: false }, stored)?;
        self.check_same_pointers(base)
    }

    /// Checks a read of memory. Returns what is read.
    pub(super) fn check_load(&mut self, access: Access, signed: bool) -> Result<Register, Violation> {
        let Access { base, size, .. } = access;
        let pointer = self.state.get(base);
        check_alignment(&pointer, access)?;
        let off = pointer.off.wrapping_add(i32::from(access.off));
        let bytes = size.bytes();
        let register = base.number();
        let loaded = match pointer.kind {
            Kind::Context => {
                check_fixed_offset(&pointer, base)?;
                if !sysctl_is_valid_access(access.off, size, AccessType::Read) {
                    return Err(Violation::Context { off: access.off.into(), size: bytes });
                }
                None
            }
            Kind::Stack(_) => return self.read_stack(access, signed),
            Kind::MapValue(map) if !pointer.maybe_null => {
                check_map_direction(self.env, map, off, bytes, false)?;
                self.check_map_value(base, &pointer, off, bytes, false)?;
                frozen_value(self.env, map, &pointer, off, size, signed)
            }
            Kind::MapKey(map) => {
                let key_size = self.env.maps[usize::from(map)].key_size;
                self.check_region(base, &pointer, off, bytes, key_size, false)?;
                None
            }
            Kind::Record(size) if !pointer.maybe_null => {
                self.check_region(base, &pointer, off, bytes, size, false)?;
                None
            }
            Kind::Memory(size) if !pointer.maybe_null => {
                self.check_region(base, &pointer, off, bytes, size, false)?;
                None
            }
            Kind::BtfId(name, _) => self.load_member(base, &pointer, off, name, access)?,
            Kind::Map(map) => {
                if off < 0 {
                    let description = self.env.description(map);
                    return Err(Violation::NegativeMapAccess { register, description, off });
                }
                Some(if size == Size::U64 { Register::unknown_kind() } else { Register::of_size(size) })
            }
            Kind::Unknown if size == Size::U64 => Some(Register::unknown_kind()),
            Kind::Unknown => None,
            _ => return Err(Violation::MemoryAccess { register, found: pointer.type_name() }),
        };
        Ok(loaded.unwrap_or_else(|| extended(Register::UNKNOWN, size, signed)))
    }

    /// Checks a write to memory.
    pub(super) fn check_store(&mut self, access: Access, stored: Stored) -> Result<(), Violation> {
        let Access { base, size, .. } = access;
        let pointer = self.state.get(base);
        check_alignment(&pointer, access)?;
        let off = pointer.off.wrapping_add(i32::from(access.off));
        let bytes = size.bytes();
        let register = base.number();
        match pointer.kind {
            Kind::Context => {
                check_fixed_offset(&pointer, base)?;
                if sysctl_is_valid_access(access.off, size, AccessType::Write) {
                    Ok(())
                } else {
                    Err(Violation::Context { off: access.off.into(), size: bytes })
                }
            }
            Kind::Stack(_) => self.write_stack(access, stored),
            Kind::MapValue(map) if !pointer.maybe_null => {
                check_map_direction(self.env, map, off, bytes, true)?;
                self.check_map_value(base, &pointer, off, bytes, false)
            }
            Kind::MapKey(_) => Err(Violation::WriteToKey { register }),
            Kind::Record(size) if !pointer.maybe_null => {
                self.check_region(base, &pointer, off, bytes, size, false)
            }
            Kind::Memory(size) if !pointer.maybe_null => {
                self.check_region(base, &pointer, off, bytes, size, false)
            }
            Kind::BtfId(..) => Err(Violation::StructWrite),
            Kind::Map(map) => Err(Violation::MapDescription { description: self.env.description(map) }),
            Kind::Unknown => Ok(()),
            _ => Err(Violation::MemoryAccess { register, found: pointer.type_name() }),
        }
    }

    /// Reads a member of a struct of the kernel: `check_ptr_to_btf_access()`. `None`: it is a number.
    fn load_member(
        &mut self,
        base: Reg,
        pointer: &Register,
        off: i32,
        name: &'static str,
        access: Access,
    ) -> Result<Option<Register>, Violation> {
        let offset = check_struct_offset(base, pointer, off, name)?;
        let size = access.size.bytes();
        let structs = self.env.structs;
        if !structs.is_modelled(name, offset.into()..u64::from(offset) + u64::from(size)) {
            return Err(Violation::NotModelledMember { name, offset, size });
        }
        self.check_struct_end(name, off, size)?;
        let member = member_at(structs.all(), name, offset, size);
        Ok(match member.ok_or(Violation::StructMember { name, off, size })? {
            MemberType::Pointer(MemberType::Struct(name)) => {
                Some(Register::pointer(Kind::BtfId(name, false)))
            }
            _ => None,
        })
    }

    /// Checks that a struct of the kernel does not end before these bytes.
    pub(super) fn check_struct_end(&self, name: &'static str, off: i32, size: u32) -> Result<(), Violation> {
        let of = self.env.structs.get(name);
        let is_within = of.is_some_and(|of| i64::from(off) + i64::from(size) <= of.size.into());
        match is_within {
            true => Ok(()),
            false if self.env.sizes_are_known => Err(Violation::StructMember { name, off, size }),
            false => Err(Violation::BeyondStruct { name, off, size }),
        }
    }

    /// `check_map_access()`
    pub(super) fn check_map_value(
        &mut self,
        base: Reg,
        pointer: &Register,
        off: i32,
        size: u32,
        may_be_empty: bool,
    ) -> Result<(), Violation> {
        let Kind::MapValue(map) = pointer.kind else { return Ok(()) };
        let value_size = self.env.maps[usize::from(map)].value_size;
        self.check_region(base, pointer, off, size, value_size, may_be_empty)?;
        self.check_special_fields(map, pointer, off, size)
    }

    /// Checks that an access is within memory of so many bytes: `check_mem_region_access()`.
    pub(super) fn check_region(
        &mut self,
        base: Reg,
        pointer: &Register,
        off: i32,
        size: u32,
        memory: u32,
        may_be_empty: bool,
    ) -> Result<(), Violation> {
        let register = base.number();
        let off = i64::from(off);
        let (min, max) = (pointer.scalar.signed.min, pointer.scalar.unsigned.max);
        let least = min.wrapping_add(off);
        if min < 0 && (min == i64::MIN || least != i64::from(least as i32) || least < 0) {
            return Err(Violation::NegativeOffset { register });
        }
        let is_within = |at: i64| {
            at >= 0 && (size > 0 || may_be_empty) && at as u64 + u64::from(size) <= u64::from(memory)
        };
        let outside = |off: i64| OutOfBounds { memory, off: i64::from(off as i32), size };
        if !is_within(i64::from(least as i32)) {
            return Err(Violation::LeastOffset { register, access: outside(least) });
        }
        if max >= BPF_MAX_VAR_OFF as u64 {
            return Err(Violation::UnboundedOffset { register });
        }
        let greatest = max as i64 + off;
        if !is_within(greatest) {
            return Err(Violation::GreatestOffset { register, access: outside(greatest) });
        }
        Ok(())
    }

    /// An instruction that accesses the context or a struct of the kernel accesses nothing else on another path, because it
    /// is rewritten (`save_aux_ptr_type`).
    fn check_same_pointers(&mut self, base: Reg) -> Result<(), Violation> {
        let accessed = match self.state.get(base).kind {
            Kind::Context => Accessed::Context,
            Kind::BtfId(..) => Accessed::Struct,
            _ => Accessed::Other,
        };
        match self.accessed[self.state.insn].replace(accessed) {
            Some(before) if before != accessed => Err(Violation::DifferentPointers),
            _ => Ok(()),
        }
    }
}

/// What an instruction accesses on all paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accessed {
    Context,
    /// A struct of the kernel.
    Struct,
    Other,
}

/// The offset in a struct of the kernel, which is fixed and not negative.
pub(super) fn check_struct_offset(
    base: Reg,
    pointer: &Register,
    off: i32,
    name: &'static str,
) -> Result<u32, Violation> {
    let register = base.number();
    if pointer.scalar.known() != Some(0) {
        let var_off = pointer.var_off().to_string();
        return Err(Violation::StructVariableOffset { register, name, off, var_off });
    }
    u32::try_from(off).map_err(|_| Violation::StructNegativeOffset { register, name, off })
}

/// The lowest bytes of a value, as a load extends them.
pub(super) fn extended(value: Register, size: Size, signed: bool) -> Register {
    if !value.is_scalar() {
        return value;
    }
    let scalar = value.scalar.lowest(size, Width::W64, signed);
    let link = if scalar == value.scalar { value.link } else { super::register::ScalarId::NONE };
    Register { scalar, link, ..value }
}

/// A pointer that may have neither a fixed nor a variable offset: `__check_ptr_off_reg()`.
pub(super) fn check_fixed_offset(pointer: &Register, base: Reg) -> Result<(), Violation> {
    let (of, register, off) = (pointer.type_name(), base.number(), pointer.off);
    if off < 0 {
        return Err(Violation::NegativePointer { of, register, off });
    }
    if off != 0 {
        return Err(Violation::ModifiedPointer { of, register, off });
    }
    if pointer.scalar.known() != Some(0) {
        return Err(Violation::VariablePointer { of, var_off: pointer.var_off().to_string() });
    }
    Ok(())
}

/// Accesses to the stack are aligned, and atomic ones wherever they are: `check_ptr_alignment()` where unaligned accesses
/// are efficient.
fn check_alignment(pointer: &Register, access: Access) -> Result<(), Violation> {
    let is_stack = matches!(pointer.kind, Kind::Stack(_));
    let size = access.size.bytes();
    if !(is_stack || access.aligned) || size == 1 || !pointer.is_pointer() {
        return Ok(());
    }
    let insn_off = i32::from(access.off);
    let fixed = super::bits::Bits::constant(i64::from(pointer.off.wrapping_add(insn_off)) as u64);
    if pointer.var_off().add(fixed).is_aligned(size) {
        return Ok(());
    }
    let of = match pointer.kind {
        Kind::Stack(_) => "stack ",
        Kind::Context => "context ",
        Kind::MapValue(_) | Kind::MapKey(_) => "value ",
        _ => "",
    };
    let var_off = pointer.var_off().to_string();
    Err(Violation::Misaligned { of, var_off, off: pointer.off, insn_off, size })
}

/// Programs may not write frozen maps, and not read those that they may only write: `check_map_access_type()`.
pub(super) fn check_map_direction(
    env: &VerifierEnv<'_>,
    map: u16,
    off: i32,
    size: u32,
    writes: bool,
) -> Result<(), Violation> {
    let map = env.maps[usize::from(map)];
    let value_size = map.value_size;
    match writes {
        true if map.is_read_only() => Err(Violation::WriteIntoMap { value_size, off, size }),
        false if map.flags & BPF_F_WRONLY_PROG != 0 => Err(Violation::ReadFromMap { value_size, off, size }),
        _ => Ok(()),
    }
}

/// What is read at a known offset of a frozen value is known: `bpf_map_direct_read()`.
fn frozen_value(
    env: &VerifierEnv<'_>,
    map: u16,
    pointer: &Register,
    off: i32,
    size: Size,
    signed: bool,
) -> Option<Register> {
    let def = env.maps[usize::from(map)];
    let contents = env.frozen[usize::from(map)].as_ref()?;
    if def.kind != MapKind::Array || def.max_entries != 1 {
        return None;
    }
    let at = usize::try_from(i64::from(off) + pointer.scalar.known()? as i64).ok()?;
    let bytes = contents.get(at..)?.get(..size.bytes() as usize)?;
    let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(Register::constant(if signed { arithmetic::sign_extend(Width::W64, size, value) } else { value }))
}
