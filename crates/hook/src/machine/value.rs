//! The value of a register: a number or a pointer.

use std::fmt;

use crate::constants::{MAX_BPF_STACK, MAX_CALL_FRAMES};

/// Bytes of stack of all frames that any kernel allows. The first function has the topmost ones.
pub(super) const STACK_BYTES: usize = MAX_BPF_STACK * MAX_CALL_FRAMES;

/// The value of a register or of eight bytes of stack.
///
/// There are no addresses. A pointer is a region and an offset, so that every access can be checked against the bounds of
/// the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// The number, or the offset in bytes.
    pub bits: u64,
    /// The region that the offset is in.
    pub region: Region,
}

/// What a pointer points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Region {
    /// Not initialized.
    Uninit,
    /// Not a pointer: a number.
    Number,
    /// The context, `struct bpf_sysctl`.
    Context,
    /// The stack; the offset counts from the lowest byte of the deepest possible frame.
    Stack,
    /// The map itself, by its index in the run.
    Map(u16),
    /// The value of one entry of a map.
    MapValue {
        /// The map, by its index in the run.
        map: u16,
        /// The index of the value.
        slot: u32,
    },
    /// A ring buffer record that is reserved and not yet submitted.
    Record(u32),
    /// The key argument of a callback; read only.
    Key(u32),
    /// A function of the program, as a callback.
    Function(u32),
}

impl Value {
    /// An uninitialized value.
    pub(crate) const UNINIT: Self = Self { bits: 0, region: Region::Uninit };

    /// A number.
    pub(crate) const fn number(bits: u64) -> Self {
        Self { bits, region: Region::Number }
    }

    /// The start of `region`.
    pub(crate) const fn start_of(region: Region) -> Self {
        Self { bits: 0, region }
    }

    /// The pointer, moved by `bytes`.
    pub(crate) const fn add(self, bytes: u64) -> Self {
        Self { bits: self.bits.wrapping_add(bytes), region: self.region }
    }

    /// Whether it is a number.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self.region, Region::Number)
    }
}

impl Region {
    /// Whether it can be accessed at offsets, so that pointer arithmetic is valid.
    pub(crate) const fn has_offsets(self) -> bool {
        matches!(self, Self::Stack | Self::MapValue { .. } | Self::Record(_) | Self::Key(_))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uninit => "uninitialized",
            Self::Number => "a number",
            Self::Context => "the context",
            Self::Stack => "the stack",
            Self::Map(_) => "a map",
            Self::MapValue { .. } => "a map value",
            Self::Record(_) => "a ring buffer record",
            Self::Key(_) => "the key of a map entry",
            Self::Function(_) => "a function",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.bits as i64;
        match self.region {
            Region::Uninit => f.write_str("uninitialized"),
            Region::Number => write!(f, "{signed}"),
            Region::Stack => write!(f, "stack{:+}", signed - STACK_BYTES as i64),
            Region::Context => write!(f, "ctx{signed:+}"),
            Region::Map(map) => write!(f, "map[{map}]"),
            Region::MapValue { map, slot } => write!(f, "map[{map}].value[{slot}]{signed:+}"),
            Region::Record(record) => write!(f, "record[{record}]{signed:+}"),
            Region::Key(key) => write!(f, "key[{key}]{signed:+}"),
            Region::Function(start) => write!(f, "function@{start}"),
        }
    }
}
