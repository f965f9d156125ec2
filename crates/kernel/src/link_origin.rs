//! Who put a program on a cgroup, and the name of the pinned link, which says so.
//!
//! A link is pinned as `cgroup-ID`, with `:SOURCE` after it unless somebody attached it by hand, and `+late` at the end if it came
//! late: `cgroup-12`, `cgroup-12:agent`, `cgroup-12:hook+late`. So the origin is set together with the pin, and is gone with it. A
//! bpffs allows no dots in names (`bpf_lookup()` in kernel/bpf/inode.c).

use std::fmt;

/// The prefix of pinned links.
const LINK: &str = "cgroup-";
/// What the name of a link ends with that came late.
const LATE: &str = "+late";

/// Who put a program on a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LinkSource {
    /// Somebody, with `knobgate attach`; or a version of knobgate that did not tell sources apart.
    Hand,
    /// The agent.
    Agent,
    /// A hook of an OCI runtime.
    Hook,
    /// The NRI plugin.
    Nri,
    /// A source that only a newer version of knobgate knows.
    Unknown,
}

impl LinkSource {
    /// Those that are known.
    pub const KNOWN: [Self; 4] = [Self::Hand, Self::Agent, Self::Hook, Self::Nri];

    /// Its name: `hand`, `agent`, `hook`, `nri`, `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hand => "hand",
            Self::Agent => "agent",
            Self::Hook => "hook",
            Self::Nri => "nri",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for LinkSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a link comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkOrigin {
    /// Who made it.
    pub source: LinkSource,
    /// Whether there were processes in the cgroup, or below it, when it was made: what they did before, no program judged.
    pub late: bool,
}

impl LinkOrigin {
    /// That of a link that somebody made by hand, on an empty cgroup, or with a version of knobgate that did not tell origins apart.
    pub const HAND: Self = Self { source: LinkSource::Hand, late: false };

    fn known() -> impl Iterator<Item = Self> {
        let both = |source| [false, true].map(|late| Self { source, late });
        LinkSource::KNOWN.into_iter().flat_map(both)
    }

    /// What comes after the cgroup's id in the name of the pin.
    fn suffix(self) -> String {
        let source = match self.source {
            LinkSource::Hand => String::new(),
            source => format!(":{source}"),
        };
        format!("{source}{}", if self.late { LATE } else { "" })
    }
}

/// The name of a pinned link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkPin {
    pub(crate) cgroup_id: u64,
    pub(crate) origin: LinkOrigin,
    name: String,
}

impl LinkPin {
    pub(crate) fn new(cgroup_id: u64, origin: LinkOrigin) -> Self {
        Self { cgroup_id, origin, name: format!("{LINK}{cgroup_id}{}", origin.suffix()) }
    }

    /// The names that links of this cgroup can have, as far as this version knows.
    pub(crate) fn known(cgroup_id: u64) -> impl Iterator<Item = Self> {
        LinkOrigin::known().map(move |origin| Self::new(cgroup_id, origin))
    }

    /// Reads the name of a pin; `None` if it is not that of a link.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(LINK)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let cgroup_id = rest[..digits].parse().ok()?;
        let unknown = || LinkOrigin { source: LinkSource::Unknown, late: rest.contains(LATE) };
        let origin = LinkOrigin::known().find(|origin| origin.suffix() == rest[digits..]);
        Some(Self { cgroup_id, origin: origin.unwrap_or_else(unknown), name: name.to_owned() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pin_says_where_its_link_comes_from() {
        for (name, source, late) in [
            ("cgroup-12", LinkSource::Hand, false),
            ("cgroup-12+late", LinkSource::Hand, true),
            ("cgroup-12:agent", LinkSource::Agent, false),
            ("cgroup-12:hook+late", LinkSource::Hook, true),
            ("cgroup-12:nri", LinkSource::Nri, false),
        ] {
            let pin = LinkPin::parse(name).expect(name);
            assert_eq!((pin.cgroup_id, pin.origin), (12, LinkOrigin { source, late }), "{name}");
            assert_eq!(LinkPin::new(12, pin.origin), pin);
        }
    }

    #[test]
    fn a_pin_of_a_newer_version_is_a_link_of_an_unknown_source() {
        for (name, late) in [
            ("cgroup-12:timer", false),
            ("cgroup-12:timer+late", true),
            ("cgroup-12:agent+late+x", true),
            ("cgroup-12:hand", false),
            ("cgroup-12:", false),
            ("cgroup-12x", false),
        ] {
            let pin = LinkPin::parse(name).expect(name);
            assert_eq!((pin.cgroup_id, pin.name()), (12, name));
            assert_eq!(pin.origin, LinkOrigin { source: LinkSource::Unknown, late }, "{name}");
        }
    }

    #[test]
    fn other_pins_are_no_links() {
        for name in ["program", "map-1", "cgroup-", "cgroup-:agent", "cgroup-99999999999999999999", "cgroup"]
        {
            assert_eq!(LinkPin::parse(name), None, "{name}");
        }
    }

    #[test]
    fn each_known_origin_has_its_own_name() {
        let names: Vec<String> = LinkPin::known(7).map(|pin| pin.name).collect();
        let mut different = names.clone();
        different.sort();
        different.dedup();
        assert_eq!(names.len(), different.len());
    }
}
