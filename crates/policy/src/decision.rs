//! What a policy decides about one access, and why.

use crate::{AccessKind, Errno, Integer, Value, Width};

/// A verdict, and what decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// The verdict. In [`Mode::Audit`](crate::Mode::Audit) it is reported and not enforced.
    pub verdict: Verdict,
    /// What decided.
    pub by: DecidedBy,
    /// Whether an event is sent.
    pub log: bool,
}

/// What happens to an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes as it is.
    Allow,
    /// It fails with this errno; the knob's handler does not run.
    Deny(Errno),
    /// It passes with these bytes instead of the caller's; the length is the same.
    Rewrite(Vec<u8>),
}

/// What decided. Rules are identified by their index in [`Policy::rules`](crate::Policy::rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// The first rule that matched.
    Rule(usize),
    /// The default for this kind of access: no rule matched.
    Default(AccessKind),
    /// A rule that could not be evaluated for this access, which is denied with `EINVAL`.
    EvalError {
        /// The rule.
        rule: usize,
        /// Why.
        error: EvalError,
    },
}

/// Why a rule could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The name of the knob is longer than [`NAME_MAX`](crate::limits::NAME_MAX), and its last component does not rule
    /// out a match ([`last_components`](crate::KnobPattern::last_components)).
    #[error("the knob's name has more than {} bytes", crate::limits::NAME_MAX)]
    NameTooLong,
    /// The access is a read, or a write of no bytes.
    #[error("there is no new value")]
    NoNew,
    /// The knob cannot be read.
    #[error("the current value cannot be read")]
    NoOld,
    /// The write is at a position other than 0, so its bytes alone do not say what the knob will hold.
    #[error("the write is at a file position other than 0")]
    Position,
    /// The value is longer than [`VALUE_MAX`](crate::limits::VALUE_MAX), or than what the kernel lets a program
    /// [look at](crate::Access::seen_up_to).
    #[error("the {0} value has more bytes than the program could look at")]
    TooLong(Value),
    /// The new value is longer than [`REPLACED_MAX`](crate::limits::REPLACED_MAX).
    #[error("a value of more than {limit} bytes cannot be replaced", limit = crate::limits::REPLACED_MAX)]
    TooLongToReplace,
    /// Something other than white space and NULs follows the first newline or NUL. Handlers disagree on whether it
    /// belongs to the value.
    #[error("the {0} value goes on after its first newline or NUL")]
    GoesOn(Value),
    /// A NUL directly follows what might be a list of numbers. Handlers of lists store all of the numbers but the last,
    /// and then fail.
    #[error("a NUL follows the {0} value, which might be a list of numbers")]
    NulAfterList(Value),
    /// The value is not a list of numbers that every handler parses the same way.
    #[error("the {0} value is not a number or a list of numbers")]
    NotNumbers(Value),
    /// The value is not a set of numbers as `net.ipv4.ip_local_reserved_ports` takes it.
    #[error("the {0} value is not a set of numbers and ranges, such as \"8080,9000-9100\"")]
    NotRanges(Value),
    /// A number is beyond 64 bits.
    #[error("a number of the {0} value is beyond 64 bits")]
    Overflow(Value),
    /// The knob's handler could store a number that is written, or that a `clamp` would write, as another number.
    #[error("{number} is beyond the width of the knob, {low} to {high}, and could be stored as another number",
        low = .width.bounds().0, high = .width.bounds().1)]
    Width {
        /// The number.
        number: Integer,
        /// The numbers that the knob stores unchanged.
        width: Width,
    },
    /// The last number ends beyond [`NUMBERS_END_MAX`](crate::limits::NUMBERS_END_MAX).
    #[error("the numbers of the {0} value go beyond its first {limit} bytes", limit = crate::limits::NUMBERS_END_MAX)]
    NumbersTooLong(Value),
    /// The count of numbers in the value is not the one that the rule asks for.
    #[error("the {value} value holds {found} numbers where {expected} are needed")]
    Count {
        /// Which value.
        value: Value,
        /// How many numbers it holds.
        found: usize,
        /// How many the rule asks for.
        expected: usize,
    },
    /// The value has no element of this index.
    #[error("the {value} value holds {found} numbers and so has no element {index}")]
    NoElement {
        /// Which value.
        value: Value,
        /// How many numbers it holds.
        found: usize,
        /// The index that the rule asks for.
        index: usize,
    },
    /// Bits of a negative number are asked for.
    #[error("a number of the {0} value is negative, so a mask says nothing about it")]
    NegativeMasked(Value),
    /// It is not known which network namespace owns the knob.
    #[error("it is not known which network namespace owns the knob")]
    NoNetns,
    /// The replacement is longer than what the caller wrote.
    #[error("the replacement has {needed} bytes and does not fit in the {room} that were written")]
    DoesNotFit {
        /// Length of the replacement's text in bytes.
        needed: usize,
        /// Length of the caller's value in bytes.
        room: usize,
    },
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Value::New => "new",
            Value::Old => "current",
        })
    }
}
