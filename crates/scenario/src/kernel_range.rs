//! Ranges of kernel versions, such as `>=5.18 <6.17 or >=7.2`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use knobgate_hook::Profile;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// The version of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelVersion(u16, u16, u16);

impl KernelVersion {
    #[cfg(feature = "kernel")]
    pub(crate) fn of_this_machine() -> Self {
        let (major, minor, patch) = knobgate_kernel::kernel_version();
        Self(major, minor, patch)
    }
}

impl From<&Profile> for KernelVersion {
    /// A profile of a whole series stands for its newest release.
    fn from(profile: &Profile) -> Self {
        let patch = profile.name.split('.').nth(2).and_then(|patch| patch.parse().ok());
        Self(profile.version.0, profile.version.1, patch.unwrap_or(u16::MAX))
    }
}

/// A range of kernel versions.
///
/// A comparison is one of `<`, `<=`, `>`, `>=` and `=` with a version of two or three numbers. Where a version has two, only
/// the first two numbers of a kernel count: `<=6.1` includes 6.1.192. Of comparisons with spaces between them, all have to
/// hold; `or` separates alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRange {
    text: String,
    alternatives: Vec<Vec<Comparison>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Comparison {
    relation: Relation,
    version: (u16, u16, Option<u16>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// The longer ones first, so that `<=` is not taken for `<`.
const RELATIONS: [(&str, Relation); 5] = [
    ("<=", Relation::LessOrEqual),
    (">=", Relation::GreaterOrEqual),
    ("<", Relation::Less),
    (">", Relation::Greater),
    ("=", Relation::Equal),
];

const PATTERN: &str = r"^(\s*(or\s+)?(<|<=|>|>=|=)[0-9]+\.[0-9]+(\.[0-9]+)?)+\s*$";

impl KernelRange {
    /// All kernels.
    pub(crate) fn all() -> Self {
        Self { text: String::new(), alternatives: vec![Vec::new()] }
    }

    /// Whether each of its kernels is in one of these ranges.
    pub(crate) fn is_within(&self, others: &[&Self]) -> bool {
        let ranges = || std::iter::once(self).chain(others.iter().copied());
        let comparisons = ranges().flat_map(|range| range.alternatives.iter().flatten());
        // Between two of these, no comparison ends to hold or begins to.
        let starts = comparisons.flat_map(|comparison| comparison.starts()).chain([KernelVersion(0, 0, 0)]);
        let mut own = starts.filter(|kernel| self.contains(*kernel));
        own.all(|kernel| others.iter().any(|other| other.contains(kernel)))
    }

    pub(crate) fn contains(&self, kernel: KernelVersion) -> bool {
        self.alternatives.iter().any(|all| all.iter().all(|comparison| comparison.holds(kernel)))
    }
}

impl Comparison {
    /// The first kernel that it names, and the first one after those.
    fn starts(self) -> [KernelVersion; 2] {
        let (major, minor, patch) = self.version;
        let next = match patch {
            Some(patch) if patch < u16::MAX => KernelVersion(major, minor, patch + 1),
            _ => KernelVersion(major, minor.saturating_add(1), 0),
        };
        [KernelVersion(major, minor, patch.unwrap_or(0)), next]
    }

    fn holds(self, KernelVersion(major, minor, patch): KernelVersion) -> bool {
        let (wanted_major, wanted_minor, wanted_patch) = self.version;
        let wanted = (wanted_major, wanted_minor, wanted_patch.unwrap_or(0));
        let kernel = (major, minor, wanted_patch.map_or(0, |_| patch));
        match self.relation {
            Relation::Less => kernel < wanted,
            Relation::LessOrEqual => kernel <= wanted,
            Relation::Greater => kernel > wanted,
            Relation::GreaterOrEqual => kernel >= wanted,
            Relation::Equal => kernel == wanted,
        }
    }
}

impl FromStr for Comparison {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let found = RELATIONS.iter().find_map(|(sign, relation)| Some((relation, text.strip_prefix(sign)?)));
        let (&relation, version) = found.ok_or(())?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = |part: &str| if is_number(part) { part.parse().map_err(drop) } else { Err(()) };
        let numbers = version.split('.').map(number).collect::<Result<Vec<u16>, ()>>()?;
        match numbers[..] {
            [major, minor] => Ok(Self { relation, version: (major, minor, None) }),
            [major, minor, patch] => Ok(Self { relation, version: (major, minor, Some(patch)) }),
            _ => Err(()),
        }
    }
}

impl FromStr for KernelRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut alternatives = vec![Vec::new()];
        for word in text.split_ascii_whitespace() {
            match (word, alternatives.last_mut()) {
                ("or", _) => alternatives.push(Vec::new()),
                (word, Some(last)) => last.push(word.parse().map_err(|()| {
                    format!("`{word}` is not a comparison with a kernel's version, such as \">=6.1\"")
                })?),
                (_, None) => {}
            }
        }
        if alternatives.iter().any(Vec::is_empty) {
            return Err(format!(
                "`{text}` is not a range of kernels: write comparisons, such as \">=5.18 <6.17 or >=7.2\""
            ));
        }
        Ok(Self { text: text.to_owned(), alternatives })
    }
}

impl fmt::Display for KernelRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for KernelRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for KernelRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for KernelRange {
    fn schema_name() -> Cow<'static, str> {
        "KernelRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A range of kernel versions, such as \">=5.18 <6.17 or >=7.2\": comparisons, of which all have to \
                            hold, and `or` between alternatives.",
            "type": "string",
            "pattern": PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_some_kernels() {
        let kernels = [
            KernelVersion(5, 10, 262),
            KernelVersion(6, 1, 170),
            KernelVersion(6, 1, 192),
            KernelVersion(6, 8, 0),
            KernelVersion::from(&Profile::LINUX_6_18),
            KernelVersion(7, 2, 13),
        ];
        for (range, expected) in [
            ("<5.18", [true, false, false, false, false, false]),
            ("<=6.1", [true, true, true, false, false, false]),
            ("<=6.1.170", [true, true, false, false, false, false]),
            (">6.1", [false, false, false, true, true, true]),
            (">=6.1", [false, true, true, true, true, true]),
            ("=6.1", [false, true, true, false, false, false]),
            (">=6.18.44", [false, false, false, false, true, true]),
            ("  >=6.1.171  <6.2 or >=7.2 ", [false, false, true, false, false, true]),
        ] {
            let parsed: KernelRange = range.parse().expect(range);
            assert_eq!(kernels.map(|kernel| parsed.contains(kernel)), expected, "{range}");
        }
    }

    #[test]
    fn a_range_can_be_within_others() {
        let parsed = |range: &str| range.parse::<KernelRange>().expect("a range");
        for (range, others, expected) in [
            (">6.1 <6.1", &[][..], true),
            (">6.1 <6.3", &[], false),
            (">6.1.5 <6.1.6", &[], true),
            ("=6.1.5", &["=6.1"], true),
            ("=6.1", &["=6.1.5"], false),
            (">=6.1", &["<6.8", ">6.5"], true),
            (">=6.1", &["<6.8", ">6.8"], false),
            ("<5.0", &["<=5.0"], true),
            ("<=5.0", &["<5.0"], false),
        ] {
            let others: Vec<_> = others.iter().copied().map(parsed).collect();
            let others: Vec<_> = others.iter().collect();
            assert_eq!(parsed(range).is_within(&others), expected, "{range}");
        }
        let (low, high) = (parsed("<6.8"), parsed(">=6.8"));
        assert!(KernelRange::all().is_within(&[&low, &high]));
        assert!(!KernelRange::all().is_within(&[&low]));
    }

    #[test]
    fn what_is_not_a_range_is_rejected() {
        for wrong in [
            "", "or", "<5.18 or", "or <5.18", "5.18", "<5", "<5.", "<5.1.2.3", "< 5.18", "<+5.18", "<5.70000",
        ] {
            assert!(wrong.parse::<KernelRange>().is_err(), "{wrong}");
        }
    }
}
