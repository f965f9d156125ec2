//! Which numbers a knob stores unchanged.
//!
//! The kernel parses every number of a value into 64 bits, and most handlers keep 32 of them. Some check that nothing
//! is lost, others do not: before Linux 7.3, `proc_dointvec_ms_jiffies` (kernel/sysctl.c) stores 4294967296 as 0.

/// Which numbers the handler of a knob stores unchanged, on every kernel. It rejects or changes others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Width {
    /// −2³¹ to 2³²−1: an `int`, or an `unsigned int`.
    #[default]
    Bits32,
    /// 0 to 2³¹−1.
    Unsigned31,
    /// 0 to 2³²−1.
    Unsigned32,
    /// 0 to 2⁶⁴−1. Before Linux 5.19, `proc_doulongvec_minmax` (kernel/sysctl.c) ignores a negative number, and succeeds.
    Unsigned64,
    /// 0 to (2³¹−1)·`USER_HZ`/1000, where `USER_HZ` is 100: `proc_dointvec_userhz_jiffies` (kernel/sysctl.c) multiplies by
    /// the ticks of the timer, at most 1000 in a second, and keeps 32 bits of that.
    UserHz,
}

impl Width {
    /// All of them, each with its name in `knobs.tsv`.
    pub(crate) const NAMES: [(&str, Self); 5] = [
        ("bits32", Self::Bits32),
        ("unsigned31", Self::Unsigned31),
        ("unsigned32", Self::Unsigned32),
        ("unsigned64", Self::Unsigned64),
        ("userhz", Self::UserHz),
    ];
}

/// How a handler changes what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// A number, rounded up to a tick of the timer, which ticks 100 to 1000 times a second.
    Milliseconds,
    /// A number, rounded down to a tick of the timer, if it ticks 250 times a second.
    UserTicks,
    /// A number, rounded up to a power of two, at least to `least`.
    PowersOfTwo {
        /// The least number that is stored.
        least: u32,
    },
    /// 0 for 0, and 1 for every other number.
    Booleans,
    /// A number that was lowered to what is possible, as this text describes.
    AtMost(&'static str),
    /// A number that was changed in the way that this text describes.
    Own(&'static str),
    /// A set of CPUs, parsed as hexadecimal mask.
    CpuMask,
    /// The text as it was written.
    Text,
    /// A set of words, which is printed in the knob's own order.
    WordSet,
}

impl Normalisation {
    /// Whether the knob reads what is written as text. To compare it as a number would admit other texts, and mean others.
    pub fn is_text(self) -> bool {
        matches!(self, Self::CpuMask | Self::Text | Self::WordSet)
    }

    /// From the notation of `knobs.tsv`.
    pub(crate) fn parse(text: &'static str) -> Option<Self> {
        let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
        Some(match (name, argument) {
            ("milliseconds", "") => Self::Milliseconds,
            ("user-ticks", "") => Self::UserTicks,
            ("powers-of-two", least) => Self::PowersOfTwo { least: least.parse().ok()? },
            ("booleans", "") => Self::Booleans,
            ("cpu-mask", "") => Self::CpuMask,
            ("text", "") => Self::Text,
            ("word-set", "") => Self::WordSet,
            ("at-most", how) if !how.is_empty() => Self::AtMost(how),
            ("own", how) if !how.is_empty() => Self::Own(how),
            _ => return None,
        })
    }
}
