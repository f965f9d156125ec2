//! Ranges of kernel versions, such as `>=5.18 <6.17 or >=7.2`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
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

/// All kernels, as numbers: 16 bits for each part of a version.
const ALL: Range<u64> = 0..1 << 48;

const PATTERN: &str = r"^(\s*(or\s+)?(<|<=|>|>=|=)[0-9]+\.[0-9]+(\.[0-9]+)?)+\s*$";

impl KernelRange {
    /// Whether no kernel is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans().next().is_none()
    }

    /// The kernels of each alternative that has some.
    fn spans(&self) -> impl Iterator<Item = Range<u64>> {
        let spans = self.alternatives.iter().map(|all| {
            all.iter()
                .map(|comparison| comparison.span())
                .fold(ALL, |one, other| one.start.max(other.start)..one.end.min(other.end))
        });
        spans.filter(|span| !span.is_empty())
    }

    pub(crate) fn contains(&self, kernel: KernelVersion) -> bool {
        self.alternatives.iter().any(|all| all.iter().all(|comparison| comparison.holds(kernel)))
    }
}

/// The kernels of several ranges together.
#[derive(Debug, Default)]
pub(crate) struct KernelSet {
    /// The ends of what is covered without a gap, by where that starts.
    spans: BTreeMap<u64, u64>,
}

impl KernelSet {
    /// Whether all kernels of a range are in it; without a range, all kernels.
    pub(crate) fn contains_all(&self, range: Option<&KernelRange>) -> bool {
        let contains = |span: Range<u64>| {
            let before = self.spans.range(..=span.start).next_back();
            before.is_some_and(|(_, end)| *end >= span.end)
        };
        match range {
            Some(range) => range.spans().all(contains),
            None => contains(ALL),
        }
    }

    pub(crate) fn add(&mut self, range: &KernelRange) {
        for Range { mut start, mut end } in range.spans() {
            while let Some((&from, &to)) =
                self.spans.range(..=end).next_back().filter(|(_, to)| **to >= start)
            {
                (start, end) = (start.min(from), end.max(to));
                self.spans.remove(&from);
            }
            self.spans.insert(start, end);
        }
    }
}

impl Comparison {
    /// The kernels for which it holds, as numbers.
    fn span(self) -> Range<u64> {
        let (major, minor, patch) = self.version;
        let start = u64::from(major) << 32 | u64::from(minor) << 16 | u64::from(patch.unwrap_or(0));
        let end = start + if patch.is_some() { 1 } else { 1 << 16 };
        match self.relation {
            Relation::Less => ALL.start..start,
            Relation::LessOrEqual => ALL.start..end,
            Relation::Greater => end..ALL.end,
            Relation::GreaterOrEqual => start..ALL.end,
            Relation::Equal => start..end,
        }
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
    fn ranges_together_can_have_all_of_another() {
        let parsed = |range: &str| range.parse::<KernelRange>().expect("a range");
        let together = |ranges: &[&str]| {
            let mut set = KernelSet::default();
            ranges.iter().for_each(|range| set.add(&parsed(range)));
            set
        };
        for (range, others, expected) in [
            (">6.1 <6.3", &[][..], false),
            ("=6.1.5", &["=6.1"], true),
            ("=6.1", &["=6.1.5"], false),
            (">=6.1", &["<6.8", ">6.5"], true),
            (">=6.1", &[">6.5", "<6.8"], true),
            (">=6.1", &["<6.8", ">6.8"], false),
            ("<5.0", &["<=5.0"], true),
            ("<=5.0", &["<5.0"], false),
            (">=6.1 <6.4 or =6.6", &["=6.3 or =6.1", "=6.6", "=6.2"], true),
            (">6.65535", &[">=7.0"], true),
            (">=7.0", &[">6.65535"], true),
        ] {
            assert_eq!(together(others).contains_all(Some(&parsed(range))), expected, "{range}");
        }
        assert!(together(&["<6.8", ">=6.8"]).contains_all(None));
        assert!(!together(&["<6.8"]).contains_all(None));
        for (range, is_empty) in
            [(">6.1 <6.1", true), (">6.1.5 <6.1.6", true), (">6.1 <6.3", false), ("<0.0", true)]
        {
            assert_eq!(parsed(range).is_empty(), is_empty, "{range}");
        }
    }

    #[test]
    fn many_ranges_are_put_together() {
        let alternatives: Vec<_> = (0..60_000).step_by(2).map(|minor| format!("=6.{minor}")).collect();
        let (even, mut set) =
            (alternatives.join(" or ").parse::<KernelRange>().expect("a range"), KernelSet::default());
        set.add(&even);
        assert!(set.contains_all(Some(&even)));
        let odd = "=6.1".parse().expect("a range");
        assert!(!set.contains_all(Some(&odd)));
        set.add(&odd);
        assert!(set.contains_all(Some(&"<=6.2 >=6.0".parse().expect("a range"))));
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
