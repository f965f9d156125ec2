//! Which accesses of a set of names a class has.

use std::fmt;

use knobgate_policy::{Integer, KnobNetns, Text, limits};

/// What a condition can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The new value.
    New,
    /// The current value.
    Old,
    /// The file position, as the hook shows it.
    Pos,
    /// The user id.
    Uid,
    /// The group id.
    Gid,
    /// The name of the task.
    Comm,
    /// The network namespace that owns the knob.
    Netns,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::New, Self::Old, Self::Pos, Self::Uid, Self::Gid, Self::Comm, Self::Netns];
}

/// Values of one subject that neither policy tells apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// All values.
    Any,
    /// A single number between these two, both included, in any notation.
    Number(Integer, Integer),
    /// Several numbers.
    List,
    /// This text.
    Text(Text),
    /// The texts for which the tests of both policies (`matches`, `starts with`, `contains`) hold as they do for this one.
    TextLike(Text),
    /// Every other text.
    OtherText,
    /// The same bytes as the new value's.
    SameAsNew,
    /// Something follows the first newline or NUL, so that no rule can evaluate it.
    GoesOn,
    /// More bytes than [`VALUE_MAX`](limits::VALUE_MAX), so that no rule can evaluate it.
    TooLong,
    /// There is no value: an empty write, or a knob that cannot be read.
    Missing,
    /// This network namespace.
    Netns(KnobNetns),
}

/// The accesses of a class, by what they hold. Subjects that make no difference are not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region {
    /// For each subject that makes a difference, its values.
    pub subjects: Vec<(Subject, Vec<Part>)>,
    /// Not all combinations of these values are in the class, or not in every notation and length.
    pub is_partial: bool,
}

impl Region {
    /// The values of a subject; empty if all of them are in the class.
    pub fn of(&self, subject: Subject) -> &[Part] {
        let found = self.subjects.iter().find(|(other, _)| *other == subject);
        found.map_or(&[], |(_, parts)| parts)
    }
}

/// These parts in order, with adjacent intervals as one.
pub(crate) fn merged(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_unstable();
    parts.dedup();
    let mut merged: Vec<Part> = Vec::new();
    for part in parts {
        if let (Some(Part::Number(_, end)), Part::Number(low, high)) = (merged.last_mut(), &part)
            && end.get() + 1 == low.get()
        {
            *end = *high;
        } else {
            merged.push(part);
        }
    }
    merged
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Old => "old",
            Self::Pos => "pos",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Comm => "comm",
            Self::Netns => "netns",
        })
    }
}

/// As in `5`, `7..9`, `20..`, `"text"`, `any other text`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Number(low, high) if low == high => write!(f, "{low}"),
            Self::Number(low, high) => {
                if *low > Integer::MIN {
                    write!(f, "{low}")?;
                }
                f.write_str("..")?;
                if *high < Integer::MAX { write!(f, "{high}") } else { Ok(()) }
            }
            Self::List => f.write_str("several numbers"),
            Self::Text(text) => write!(f, "{text}"),
            Self::TextLike(text) => write!(f, "texts like {text}"),
            Self::OtherText => f.write_str("any other text"),
            Self::SameAsNew => f.write_str("the same as new"),
            Self::GoesOn => f.write_str("more than one line"),
            Self::TooLong => write!(f, "more than {} bytes", limits::VALUE_MAX),
            Self::Missing => f.write_str("no value"),
            Self::Netns(netns) => write!(f, "{netns}"),
        }
    }
}

/// As in `new 5, 7..9; uid 0`. Position 0, which almost every access has, is not mentioned.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_usual = |(subject, parts): &&(Subject, Vec<Part>)| {
            *subject == Subject::Pos
                && matches!(parts[..], [Part::Number(low, high)] if low == high && low.get() == 0)
        };
        let mut separator = "";
        for (subject, parts) in self.subjects.iter().filter(|subject| !is_usual(subject)) {
            write!(f, "{separator}{subject} ")?;
            for (at, part) in parts.iter().enumerate() {
                write!(f, "{}{part}", if at == 0 { "" } else { ", " })?;
            }
            separator = "; ";
        }
        match (self.is_partial, separator) {
            (false, _) => Ok(()),
            (true, "") => f.write_str("some values"),
            (true, _) => f.write_str("; not all of these"),
        }
    }
}
