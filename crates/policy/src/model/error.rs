//! What can be wrong with the parts of a policy.

use crate::{NotASysctl, NotationError, limits};

/// Why something is no policy, or no part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A name with other characters, or without any.
    #[error("names of policies have letters, digits, `-`, `_` and `.`, and are not empty")]
    BadName,
    /// A name of more than [`POLICY_NAME_MAX`](limits::POLICY_NAME_MAX) bytes.
    #[error("the name of a policy has at most {} bytes", limits::POLICY_NAME_MAX)]
    NameTooLong,
    /// A rule without patterns.
    #[error("a rule looks at one knob at least")]
    NoPatterns,
    /// What should be a pattern is none.
    #[error("{} (at byte {})", .0.kind, .0.span.start)]
    Pattern(#[from] NotationError),
    /// A name or pattern of what is no sysctl.
    #[error(transparent)]
    NotASysctl(#[from] NotASysctl),
    /// `set`, `clamp` or `ignore` in a rule that is not for writes alone.
    #[error("a read cannot be rewritten")]
    RewrittenRead,
    /// A condition on the new value in a rule for reads alone.
    #[error("a read has no new value")]
    NewOfRead,
    /// Conditions more than [`NESTING_MAX`](limits::NESTING_MAX) inside each other.
    #[error("conditions are nested more than {} deep", limits::NESTING_MAX)]
    ConditionTooDeep,
    /// `and` or `or` with less than two parts.
    #[error("expected two conditions or more")]
    TooFewConditions,
    /// A chain of comparisons that compares nothing.
    #[error("a chain has one link at least")]
    NoLinks,
    /// A literal that is compared with a literal, or that is tested.
    #[error("this compares two literals")]
    OnlyLiterals,
    /// A range whose low end is above its high one.
    #[error("there is nothing in this range")]
    EmptyRange,
    /// A test for a range without ends.
    #[error("everything is in this range")]
    EndlessRange,
    /// A test for a set without members.
    #[error("there is nothing in this set")]
    EmptySet,
    /// An index that is not below [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    #[error("there is no element {index}")]
    NoElement {
        /// The index.
        index: i128,
    },
    /// A `clamp` without ranges.
    #[error("there are no ranges here")]
    NoRanges,
    /// A `clamp` with more than [`ELEMENTS_MAX`](limits::ELEMENTS_MAX) ranges.
    #[error("a clamp has at most {} ranges", limits::ELEMENTS_MAX)]
    TooManyRanges,
    /// A text of more than [`VALUE_MAX`](limits::VALUE_MAX) bytes.
    #[error("a text has at most {} bytes here, and this one has {length}", limits::VALUE_MAX)]
    TextTooLong {
        /// How many it has.
        length: usize,
    },
    /// A newline or a NUL in a text that the whole of a value should be.
    #[error("no value has this text")]
    NotOneLine,
    /// A newline or a NUL in a text that `set` writes.
    #[error("the text that `set` writes holds a {}", if *.byte == 0 { "NUL" } else { "newline" })]
    ReplacementNotOneLine {
        /// The first of them.
        byte: u8,
    },
    /// A test in which a read is rewritten.
    #[error("a read is never rewritten")]
    ReadExpectedToChange,
    /// A name that no task has.
    #[error("the name of a task has at most {} bytes, and no NUL", limits::COMM_MAX)]
    BadComm,
}

impl PolicyError {
    /// What to do about it, where that is not obvious.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::NoPatterns => "`**` matches every knob",
            Self::Pattern(error) => return error.kind.help().map(str::to_owned),
            Self::NotASysctl(error) => return Some(error.help()),
            Self::RewrittenRead => "only what is written can be changed",
            Self::NewOfRead => "what the knob holds is `old`",
            Self::OnlyLiterals => "one side has to be `new`, `old`, or another operand",
            Self::EmptyRange => "the lower end comes first",
            Self::EndlessRange => "give at least one of its ends",
            Self::EmptySet => "such as `{1, 2}`",
            Self::NoRanges => "such as `[1..10, 1..10]`",
            Self::NoElement { .. } => {
                return Some(format!("elements count from 0 to {}", limits::ELEMENTS_MAX - 1));
            }
            Self::NotOneLine => "the text of a value ends before its first newline or NUL: drop what follows",
            Self::ReplacementNotOneLine { .. } => {
                "what is written ends there for the kernel; padding is added by itself"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}
