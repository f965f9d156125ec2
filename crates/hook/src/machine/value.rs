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
    /// What `bpf_dynptr_data` has returned.
    DynptrMem(u32),
    /// Eight of the 16 bytes on the stack that are a dynptr.
    Dynptr {
        /// Which one.
        index: u32,
        /// Whether it must be submitted or discarded.
        referenced: bool,
    },
    /// A struct of the kernel, `PTR_TO_BTF_ID`: not an offset, but an address, which may be null. Read only.
    BtfId(u32),
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

    /// The number, or the address of a struct of the kernel; `None` for pointers that have no address here.
    pub(crate) const fn as_number(self) -> Option<u64> {
        if matches!(self.region, Region::Number | Region::BtfId(_)) { Some(self.bits) } else { None }
    }

    /// Whether it is a number.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self.region, Region::Number)
    }
}

impl Region {
    /// Whether numbers can be added to pointers to it. That of the context then only serves as an address.
    pub(crate) const fn is_movable(self) -> bool {
        self.has_offsets() || matches!(self, Self::Context)
    }

    /// Whether it can be accessed at offsets, like memory.
    pub(crate) const fn has_offsets(self) -> bool {
        matches!(
            self,
            Self::Stack
                | Self::MapValue { .. }
                | Self::Record(_)
                | Self::DynptrMem(_)
                | Self::Key(_)
                | Self::BtfId(_)
        )
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
            Self::BtfId(_) => "a struct of the kernel",
            Self::DynptrMem(_) => "the data of a dynptr",
            Self::Dynptr { .. } => "a dynptr",
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
            Region::DynptrMem(slice) => write!(f, "dynptr_data[{slice}]{signed:+}"),
            Region::Dynptr { index, .. } => write!(f, "dynptr[{index}]"),
            Region::BtfId(_) => write!(f, "kernel@{:#x}", self.bits),
        }
    }
}
