//! Errors in the parts of a policy.

use crate::selector::{Engine, ImageError, SelectorField};
use crate::{Integer, NotASysctl, NotationError, NotationErrorKind, Text, limits};

/// Why something is not a valid policy, or not a valid part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A name with other characters, or without any.
    #[error("a policy name is not empty, and consists of letters, digits, `-`, `_` and `.`")]
    BadName,
    /// A name of more than [`POLICY_NAME_MAX`](limits::POLICY_NAME_MAX) bytes.
    #[error("the name of a policy has at most {} bytes", limits::POLICY_NAME_MAX)]
    NameTooLong,
    /// A rule without patterns.
    #[error("a rule needs at least one pattern")]
    NoPatterns,
    /// An invalid pattern.
    #[error("{} (at byte {})", .0.kind, .0.span.start)]
    Pattern(NotationError),
    /// A name or pattern of something that is not a sysctl.
    #[error(transparent)]
    NotASysctl(#[from] NotASysctl),
    /// `set`, `clamp` or `ignore` in a rule that is not for writes alone.
    #[error("a read cannot be rewritten")]
    RewrittenRead,
    /// A condition on the new value in a rule for reads alone.
    #[error("a read has no new value")]
    NewOfRead,
    /// The network namespace of knobs that are not below `net/`: in the condition of a rule, or in a test.
    #[error("only knobs below `net/` have a network namespace")]
    NetnsOutsideNet,
    /// Conditions that are nested more than [`NESTING_MAX`](limits::NESTING_MAX) deep.
    #[error("conditions are nested more than {} deep", limits::NESTING_MAX)]
    ConditionTooDeep,
    /// `and` or `or` with less than two parts.
    #[error("expected at least two conditions")]
    TooFewConditions,
    /// A chain of comparisons that compares nothing.
    #[error("a chain needs at least one link")]
    NoLinks,
    /// A literal that is compared with a literal, or that is tested.
    #[error("this compares two literals")]
    OnlyLiterals,
    /// A range whose low end is above its high one.
    #[error("this range is empty")]
    EmptyRange,
    /// A test for a range without ends.
    #[error("this range contains everything")]
    EndlessRange,
    /// A test for a set without members.
    #[error("this set is empty")]
    EmptySet,
    /// A list of no numbers, or of more than [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    #[error("a list has 1 to {} numbers, and this one has {found}", limits::ELEMENTS_MAX)]
    ListLength {
        /// How many it has.
        found: usize,
    },
    /// A comparison of each number of a value with each number of a value.
    #[error("a comparison has only one `each`")]
    EachTwice,
    /// A mask that is not positive.
    #[error("a mask is positive, and this one is {mask}")]
    BadMask {
        /// The mask.
        mask: Integer,
    },
    /// An index that is not below [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    #[error("there is no element {index}")]
    NoElement {
        /// The index.
        index: i128,
    },
    /// A `clamp` without ranges.
    #[error("this clamp has no ranges")]
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
    /// A text of more than [`REPLACED_MAX`](limits::REPLACED_MAX) bytes that `set` writes.
    #[error("`set` writes at most {} bytes, and this text has {length}", limits::REPLACED_MAX)]
    ReplacementTooLong {
        /// How many it has.
        length: usize,
    },
    /// A newline or a NUL in a text that a whole value is compared with.
    #[error("no value has this text")]
    NotOneLine,
    /// A newline or a NUL in a text that `set` writes.
    #[error("the text that `set` writes contains a {}", if *.byte == 0 { "NUL" } else { "newline" })]
    ReplacementNotOneLine {
        /// The first of them.
        byte: u8,
    },
    /// A limit of events that is not from 1 to [`EVENTS_PER_SECOND_MAX`](limits::EVENTS_PER_SECOND_MAX) a second.
    #[error("a limit is from 1 to {} events a second", limits::EVENTS_PER_SECOND_MAX)]
    EventRate {
        /// How many a second.
        events: i128,
    },
    /// A test in which a read is rewritten.
    #[error("a read is never rewritten")]
    ReadExpectedToChange,
    /// A text that names no image.
    #[error("{0}")]
    BadImage(ImageError),
    /// The start of a name of an image, with which no name in full begins.
    #[error("no image in full begins with this")]
    NoRegistry,
    /// A path of a cgroup that does not begin with `/`.
    #[error("the path does not begin with `/`")]
    RelativePath,
    /// A path of a cgroup that ends with `/`.
    #[error("no path of a cgroup ends with `/`")]
    PathEndsInSlash,
    /// The name of a unit without its type, such as `.service`.
    #[error("the name of a unit ends with its type")]
    UnitWithoutType,
    /// A word that is no engine.
    #[error("there is no engine {name}")]
    NoSuchEngine {
        /// The word.
        name: Text,
    },
    /// A predicate that a field of a selector does not take.
    #[error("`{field}` does not take this test")]
    NoSuchTest {
        /// The field.
        field: SelectorField,
    },
    /// A name that no task has.
    #[error("the name of a task has at most {} bytes, and no NUL", limits::COMM_MAX)]
    BadComm,
}

impl From<NotationError> for PolicyError {
    fn from(error: NotationError) -> Self {
        Self::Pattern(error)
    }
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
            Self::NetnsOutsideNet => "other knobs need a rule of their own, without `netns`",
            Self::OnlyLiterals => "one side has to be `new`, `old`, or another operand",
            Self::EmptyRange => "the lower end comes first",
            Self::EndlessRange => "give at least one of its ends",
            Self::EmptySet => "such as `{1, 2}`",
            Self::ListLength { found: 0 } => "such as `[1, 2]`",
            Self::EachTwice => "every number is compared with one other",
            Self::BadMask { .. } => "it has the bits that are compared, such as `new & 0x6 == 0`",
            Self::NoRanges => "such as `[1..10, 1..10]`",
            Self::NoElement { .. } => {
                return Some(format!("elements count from 0 to {}", limits::ELEMENTS_MAX - 1));
            }
            Self::NotOneLine => "the text of a value ends before its first newline or NUL: drop what follows",
            Self::ReplacementNotOneLine { .. } => {
                "the kernel takes the value only up to there; padding is added automatically"
            }
            Self::BadImage(_) => "such as `nginx`, `nginx:1.27` or `registry.example/web/nginx:1.27`",
            Self::NoRegistry => {
                "a name in full begins with its registry: `docker.io/library/nginx:` or `registry.example/`"
            }
            Self::RelativePath => return NotationErrorKind::Relative.help().map(str::to_owned),
            Self::UnitWithoutType => "such as `nginx.service`",
            Self::PathEndsInSlash => "drop the `/`",
            Self::NoSuchEngine { .. } => {
                let names: Vec<&str> = Engine::ALL.iter().map(|engine| engine.name()).collect();
                return Some(format!("the engines are {}", names.join(", ")));
            }
            Self::NoSuchTest { field: SelectorField::Engine } => "`engine` compares with `==`, `!=` and `in`",
            Self::EventRate { events: 0 } => "for no events, write `nolog`",
            Self::EventRate { events } if *events > 0 => "for no limit, write `log(all)`",
            _ => return None,
        };
        Some(help.to_owned())
    }
}
