//! What the kernel's handlers parse.

/// What a handler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Numbers of 32 bits with a sign, separated by white space.
    Int,
    /// Numbers of 32 bits without a sign.
    UnsignedInt,
    /// Numbers of 64 bits without a sign, on a machine with 64 bits.
    UnsignedLong,
    /// Numbers from 0 to 255.
    U8,
    /// 0 or 1.
    Bool,
    /// Text, up to the first newline or NUL.
    Text,
    /// A set of numbers, like `8080,9000-9100`.
    RangeList,
    /// A set of CPUs, as a hexadecimal mask.
    CpuMask,
    /// What the knob has a notation of its own for.
    Own,
    /// Nothing: the handler only prints.
    Nothing,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Int,
        Self::UnsignedInt,
        Self::UnsignedLong,
        Self::U8,
        Self::Bool,
        Self::Text,
        Self::RangeList,
        Self::CpuMask,
        Self::Own,
        Self::Nothing,
    ];

    /// Its name, such as `unsigned-int`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::UnsignedInt => "unsigned-int",
            Self::UnsignedLong => "unsigned-long",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::RangeList => "range-list",
            Self::CpuMask => "cpu-mask",
            Self::Own => "own",
            Self::Nothing => "nothing",
        }
    }

    /// Whether the value is numbers, separated by white space.
    pub fn is_numeric(self) -> bool {
        self.size().is_some()
    }

    /// How many bytes the kernel keeps a number in, if the value is numbers.
    pub(crate) fn size(self) -> Option<u32> {
        match self {
            Self::Int | Self::UnsignedInt => Some(4),
            Self::UnsignedLong => Some(8),
            Self::U8 | Self::Bool => Some(1),
            Self::Text | Self::RangeList | Self::CpuMask | Self::Own | Self::Nothing => None,
        }
    }
}

/// A line of `handlers.tsv`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handler {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}
