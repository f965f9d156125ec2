//! The numbers that CO-RE relocations of members stand for, and how instructions get them.

use super::core_relocations::Kind;
use super::core_spec::Spec;
use crate::btf_types::{INT, INT_IS_SIGNED, PTR, Types, place};
use crate::{Insn, Size, opcode};

/// A number that an instruction has or gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) number: u64,
    /// For the offset of a member, which instructions may load or store: its size in bytes and its type.
    pub(super) memory: Option<(u32, u32)>,
    /// Whether the instruction has this number before. The layout of bit fields is ambiguous.
    pub(super) is_certain: bool,
}

impl Value {
    pub(super) fn of(number: u64) -> Self {
        Self { number, memory: None, is_certain: true }
    }
}

/// Whether loads of the type extend it by zeros, so that another size has the same value.
pub(super) fn is_zero_extended(types: &Types<'_>, id: u32) -> bool {
    types.stripped(id).is_some_and(|(_, of)| match of.kind {
        PTR => true,
        INT => of.int_encoding() != INT_IS_SIGNED,
        _ => false,
    })
}

pub(super) fn field_value(types: &Types<'_>, kind: Kind, spec: &Spec<'_>) -> Result<Value, String> {
    let no_size = || "a member has no size".to_owned();
    let last = spec.steps.last().ok_or_else(no_size)?;
    if last.name.is_none() {
        let size = types.size(last.of_type).ok_or_else(no_size)?;
        return match kind {
            Kind::FieldByteOffset => {
                Ok(Value { memory: Some((size, last.of_type)), ..Value::of(spec.bits / 8) })
            }
            Kind::FieldByteSize => Ok(Value::of(u64::from(size))),
            _ => Err("an element of an array has neither sign nor shifts".to_owned()),
        };
    }
    let of = types.get(last.of_type).ok_or_else(no_size)?;
    let member = types.member(of, last.index).ok_or_else(no_size)?;
    let (_, width) = place(of, member.offset);
    let (id, of_member) = types.stripped(member.of_type).ok_or_else(no_size)?;
    let (offset, size, bits) = if width == 0 {
        let size = types.size(id).ok_or_else(no_size)?;
        (spec.bits / 8, u64::from(size), u64::from(size) * 8)
    } else {
        let (offset, size) = unit_of_bit_field(spec.bits, width, of_member.payload)?;
        (offset, size, u64::from(width))
    };
    let is_bit_field = width > 0;
    let uncertain = |number| Value { is_certain: !is_bit_field, ..Value::of(number) };
    Ok(match kind {
        Kind::FieldByteOffset if is_bit_field => uncertain(offset),
        Kind::FieldByteOffset => {
            let loaded = types.size(element_of(types, id)).ok_or_else(no_size)?;
            Value { memory: Some((loaded, id)), ..Value::of(offset) }
        }
        Kind::FieldByteSize => uncertain(size),
        Kind::FieldSigned => {
            let is_signed = if of_member.is_enum() {
                of_member.kind_flag
            } else {
                of_member.int_encoding() & INT_IS_SIGNED != 0
            };
            Value::of(u64::from(is_signed))
        }
        // Little-endian.
        Kind::FieldLshiftU64 => uncertain(64u64.wrapping_sub(spec.bits - offset * 8 + bits)),
        _ => Value::of(64u64.wrapping_sub(bits)),
    })
}

/// What an instruction loads of a member of this type: of an array, its first element.
fn element_of(types: &Types<'_>, mut id: u32) -> u32 {
    while let Some((element, _)) = types.stripped(id).and_then(|(_, of)| of.array()) {
        id = element;
    }
    id
}

/// Where the integer begins that a bit field can be loaded with, and its size, in bytes.
fn unit_of_bit_field(bits: u64, width: u32, size: u32) -> Result<(u64, u64), String> {
    let mut size = u64::from(size);
    loop {
        if !matches!(size, 1 | 2 | 4 | 8) {
            return Err("a bit field is in no integer that can be loaded".to_owned());
        }
        let offset = bits / 8 / size * size;
        if bits - offset * 8 + u64::from(width) <= size * 8 {
            return Ok((offset, size));
        }
        size *= 2;
    }
}

/// Puts the number into the instruction. `false`: it would load or store the wrong bytes.
pub(super) fn patch(
    insns: &mut [Insn],
    at: usize,
    before: Value,
    after: Value,
    may_resize: bool,
) -> Result<bool, String> {
    let unexpected = || "the instruction does not have what it was compiled with".to_owned();
    let insn = *insns.get(at).ok_or_else(unexpected)?;
    let is_expected = |found: u64| !before.is_certain || found == before.number;
    match insn.class() {
        opcode::ALU | opcode::ALU64
            if insn.opcode & opcode::SOURCE_MASK == opcode::K && is_expected(i64::from(insn.imm) as u64) =>
        {
            insns[at] = insn.with_imm(after.number as i32);
            Ok(true)
        }
        opcode::LDX | opcode::ST | opcode::STX if is_expected(i64::from(insn.off) as u64) => {
            if !may_resize {
                return Ok(false);
            }
            let off = i16::try_from(after.number).map_err(|_| {
                format!("it is {} bytes from the start, too far for an instruction", after.number)
            })?;
            insns[at] = insn.with_off(off);
            let sizes = before.memory.zip(after.memory).map(|((before, _), (after, _))| (before, after));
            if let Some((before, after)) = sizes.filter(|(before, after)| before != after) {
                if Size::from_code(insn.opcode).bytes() != before {
                    return Err(unexpected());
                }
                let size = Size::ALL.into_iter().find(|size| size.bytes() == after);
                let size = size.ok_or_else(|| format!("no instruction loads {after} bytes"))?;
                let opcode = insn.opcode & !opcode::SIZE_MASK | size.code();
                insns[at] = Insn::new(opcode, insn.dst(), insn.src(), off, insn.imm);
            }
            Ok(true)
        }
        opcode::LD if insn.is_load_imm64() && insn.src() == 0 => {
            let second = *insns.get(at + 1).ok_or_else(unexpected)?;
            let found = u64::from(insn.imm as u32) | u64::from(second.imm as u32) << 32;
            if !is_expected(found) {
                return Err(unexpected());
            }
            insns[at] = insn.with_imm(after.number as i32);
            insns[at + 1] = second.with_imm((after.number >> 32) as i32);
            Ok(true)
        }
        _ => Err(unexpected()),
    }
}
