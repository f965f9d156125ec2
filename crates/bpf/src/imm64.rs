//! 64-bit immediates, whose loads take two instructions.

use crate::opcode;

/// The immediate of a 64-bit load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// The number itself.
    Value(u64),
    /// A map, by descriptor.
    Map {
        /// The descriptor.
        fd: i32,
    },
    /// An address in the value of a map of one entry, by descriptor.
    MapValue {
        /// The descriptor.
        fd: i32,
        /// The byte of the value.
        offset: u32,
    },
    /// A variable of the kernel, by its BTF id.
    Variable {
        /// Its id.
        btf_id: u32,
        /// The descriptor of the BTF of its module; 0 for the kernel itself.
        btf_fd: i32,
    },
    /// A function of the program, this far after the next instruction, as a callback.
    Function {
        /// The distance, counted from the second half of the load.
        off: i32,
    },
    /// A map, by its index in the loader's `fd_array`.
    MapIndex {
        /// The index.
        index: u32,
    },
    /// An address in the value of a map of one entry, by its index in the loader's `fd_array`.
    MapIndexValue {
        /// The index.
        index: u32,
        /// The byte of the value.
        offset: u32,
    },
}

impl Imm64 {
    /// The source field and the immediates of the two instructions.
    pub(crate) const fn fields(self) -> (u8, i32, i32) {
        match self {
            Self::Value(value) => (0, value as i32, (value >> 32) as i32),
            Self::Map { fd } => (opcode::PSEUDO_MAP_FD, fd, 0),
            Self::MapValue { fd, offset } => (opcode::PSEUDO_MAP_VALUE, fd, offset as i32),
            Self::Variable { btf_id, btf_fd } => (opcode::PSEUDO_BTF_ID, btf_id as i32, btf_fd),
            Self::Function { off } => (opcode::PSEUDO_FUNC, off, 0),
            Self::MapIndex { index } => (opcode::PSEUDO_MAP_IDX, index as i32, 0),
            Self::MapIndexValue { index, offset } => {
                (opcode::PSEUDO_MAP_IDX_VALUE, index as i32, offset as i32)
            }
        }
    }

    pub(crate) const fn from_fields(src: u8, low: i32, high: i32) -> Option<Self> {
        Some(match src {
            0 => Self::Value((low as u32 as u64) | ((high as u32 as u64) << 32)),
            opcode::PSEUDO_MAP_FD => Self::Map { fd: low },
            opcode::PSEUDO_MAP_VALUE => Self::MapValue { fd: low, offset: high as u32 },
            opcode::PSEUDO_BTF_ID => Self::Variable { btf_id: low as u32, btf_fd: high },
            opcode::PSEUDO_FUNC => Self::Function { off: low },
            opcode::PSEUDO_MAP_IDX => Self::MapIndex { index: low as u32 },
            opcode::PSEUDO_MAP_IDX_VALUE => Self::MapIndexValue { index: low as u32, offset: high as u32 },
            _ => return None,
        })
    }
}
