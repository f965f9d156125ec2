//! What a register or a spilled register may hold: `struct bpf_reg_state`.

use knobgate_bpf::{AluOp, Reg, Size, Width};

use super::bits::Bits;
use super::scalar::Scalar;

/// What kind of value it is: `enum bpf_reg_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not initialized.
    Uninit,
    /// A number.
    Scalar,
    /// The context.
    Context,
    /// The stack of the frame of this number.
    Stack(u8),
    /// A value of a map.
    MapValue(u16),
    /// A key of a map, which a callback gets.
    MapKey(u16),
    /// A map.
    Map(u16),
    /// A record of a ring buffer, of this many bytes.
    Record(u32),
    /// A function, by its first instruction.
    Function(u32),
    /// The data of a dynptr, so many bytes of it (`PTR_TO_MEM`).
    Memory(u32),
    /// The first or the second half of a dynptr on the stack; the reference is the dynptr's id.
    Dynptr {
        /// Whether it has to be submitted or discarded.
        of_ring: bool,
        first: bool,
    },
    /// A struct of the kernel, of this name (`PTR_TO_BTF_ID`), and whether it is known to exist (`PTR_TRUSTED`).
    BtfId(&'static str, bool),
    /// What was read from the kernel's own description of a map: a pointer or a number, which is not modelled.
    Unknown,
}

/// What a register or a spilled register may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register {
    pub(super) kind: Kind,
    /// Whether a pointer may be null (`PTR_MAYBE_NULL`).
    pub(super) maybe_null: bool,
    /// The fixed part of a pointer's offset.
    pub(super) off: i32,
    /// A number, or the variable part of a pointer's offset.
    pub(super) scalar: Scalar,
    /// The link of a number to others.
    pub(super) link: ScalarId,
    /// The id of a pointer that may be null; its copies have the same.
    pub(super) id: u32,
    /// The id of the reference that a pointer belongs to (`ref_obj_id`), or 0.
    pub(super) reference: u32,
}

impl Register {
    pub(super) const UNINIT: Self = Self::of(Kind::Uninit);

    /// Any number.
    pub(super) const UNKNOWN: Self = Self::number(Scalar::UNKNOWN);

    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            maybe_null: false,
            off: 0,
            scalar: Scalar::constant(0),
            link: ScalarId::NONE,
            id: 0,
            reference: 0,
        }
    }

    pub(super) const fn number(scalar: Scalar) -> Self {
        Self { scalar, ..Self::of(Kind::Scalar) }
    }

    pub(super) const fn constant(value: u64) -> Self {
        Self::number(Scalar::constant(value))
    }

    pub(super) fn of_size(size: Size) -> Self {
        Self::number(Scalar::of_size(size))
    }

    /// A pointer to the start of something.
    pub(super) const fn pointer(kind: Kind) -> Self {
        Self::of(kind)
    }

    /// What the description of a map holds.
    pub(super) const fn unknown_kind() -> Self {
        Self { scalar: Scalar::UNKNOWN, ..Self::of(Kind::Unknown) }
    }

    pub(super) fn is_scalar(&self) -> bool {
        self.kind == Kind::Scalar
    }

    /// Whether it is a pointer, even one that may be null.
    pub(super) fn is_pointer(&self) -> bool {
        !matches!(self.kind, Kind::Uninit | Kind::Scalar | Kind::Unknown)
    }

    /// The number, if it is a known one.
    pub(super) fn known(&self) -> Option<u64> {
        if self.is_scalar() { self.scalar.known() } else { None }
    }

    /// Whether it is the number 0 (`register_is_null`).
    pub(super) fn is_null(&self) -> bool {
        self.known() == Some(0)
    }

    /// Whether a comparison with 0 is decided (`reg_not_null`).
    pub(super) fn is_never_null(&self) -> bool {
        !self.maybe_null
            && matches!(
                self.kind,
                Kind::MapValue(_)
                    | Kind::MapKey(_)
                    | Kind::Map(_)
                    | Kind::Record(_)
                    | Kind::Memory(_)
                    | Kind::BtfId(_, true)
            )
    }

    /// Its type, in the verifier's words.
    pub(super) const fn type_name(&self) -> &'static str {
        match (self.kind, self.maybe_null) {
            (Kind::Uninit, _) => "?",
            (Kind::Scalar | Kind::Unknown, _) => "scalar",
            (Kind::Context, _) => "ctx",
            (Kind::Stack(_), _) => "fp",
            (Kind::MapValue(_), false) => "map_value",
            (Kind::MapValue(_), true) => "map_value_or_null",
            (Kind::MapKey(_), _) => "map_key",
            (Kind::Map(_), _) => "map_ptr",
            (Kind::Record(_), false) => "ringbuf_mem",
            (Kind::Record(_), true) => "ringbuf_mem_or_null",
            (Kind::Function(_), _) => "func",
            (Kind::Memory(_), false) => "mem",
            (Kind::Memory(_), true) => "mem_or_null",
            (Kind::Dynptr { .. }, _) => "dynptr_ptr",
            (Kind::BtfId(_, true), _) => "trusted_ptr_",
            (Kind::BtfId(_, false), _) => "ptr_",
        }
    }

    /// What is known of the variable part of its offset.
    pub(super) fn var_off(&self) -> Bits {
        self.scalar.bits
    }
}

/// Links copies of a number: those with the same id are equal, except for what was added since (`BPF_ADD_CONST`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScalarId {
    /// The id of the copy; 0: the number was not copied.
    pub(super) origin: u32,
    /// What was added since.
    pub(super) added: i64,
    /// Something was added, be it 0 (`BPF_ADD_CONST`).
    pub(super) is_moved: bool,
    /// The upper half was lost.
    pub(super) low_half: bool,
}

impl ScalarId {
    pub(super) const NONE: Self = Self { origin: 0, added: 0, is_moved: false, low_half: false };

    /// The link of a copy.
    pub(super) const fn new(origin: u32) -> Self {
        Self { origin, ..Self::NONE }
    }

    /// The link of the number after adding `by`, which may have lost its upper half. Only one addition is followed.
    pub(super) fn moved(self, by: i32, wraps: bool) -> Self {
        if self.origin == 0 || self.is_moved {
            return Self::NONE;
        }
        Self { added: by.into(), is_moved: true, low_half: wraps, ..self }
    }

    /// Whether the same was added to both.
    pub(super) fn has_same_delta(self, other: Self) -> bool {
        (self.added, self.is_moved, self.low_half) == (other.added, other.is_moved, other.low_half)
    }

    /// What is known of the number `of` with this link, after the number with the link `other` was found to be `known`
    /// (`sync_linked_regs`). `None`: nothing.
    pub(super) fn follow(self, of: Scalar, other: Self, known: Scalar) -> Option<Scalar> {
        if self.origin != other.origin || self.origin == 0 {
            return None;
        }
        if self == other {
            return Some(known);
        }
        if other.low_half && !self.low_half && of.unsigned.max > u64::from(u32::MAX) {
            return None;
        }
        let by = Scalar::constant(self.added.wrapping_sub(other.added) as u64);
        let width = if self.low_half || other.low_half { Width::W32 } else { Width::W64 };
        Some(Scalar::compute(width, AluOp::Add, known, by))
    }
}

/// Its number, as an index.
pub(super) fn index(register: Reg) -> usize {
    usize::from(register.number())
}
