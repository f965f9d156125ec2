//! What globs leave alone.

use knobgate_policy::{KnobName, KnobPattern, Piece};

use crate::{Key, Settings};

/// The knobs that globs leave alone: those with a setting or an exclusion of their own, in any of the sysctl.d files that apply
/// together.
#[derive(Debug, Clone, Default)]
pub struct SetApart {
    /// Sorted.
    names: Vec<KnobName>,
    exclusions: Vec<KnobPattern>,
}

impl SetApart {
    /// The knobs of these files.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Settings>) -> Self {
        let mut apart = Self::default();
        for file in files {
            let settings = file.settings.iter().map(|setting| &setting.key);
            // The settings of globs keep nothing away from other globs.
            for key in settings.filter(|key| matches!(key, Key::Knob(_))).chain(&file.exclusions) {
                match key {
                    Key::Knob(name) => apart.names.push(name.clone()),
                    Key::Glob(pattern) => apart.exclusions.push(pattern.clone()),
                }
            }
        }
        apart.names.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        apart.names.dedup();
        apart
    }

    /// The patterns of the knobs that `glob` may match.
    pub(super) fn patterns(&self, glob: &KnobPattern) -> Vec<KnobPattern> {
        let prefix = literal_start(glob);
        let first = self.names.partition_point(|name| name.as_bytes() < prefix);
        let names = self.names[first..].iter().take_while(|name| name.as_bytes().starts_with(prefix));
        let matching = names.filter(|name| glob.matches(name.as_bytes()));
        let patterns = matching.filter_map(|name| KnobPattern::parse(name.to_string()).ok());
        patterns.chain(self.exclusions.iter().cloned()).collect()
    }
}

/// What every name that matches begins with.
fn literal_start(pattern: &KnobPattern) -> &[u8] {
    match pattern.pieces().first() {
        Some(Piece::Literal(bytes)) => bytes,
        _ => &[],
    }
}

/// What every name that matches ends with.
fn literal_end(pattern: &KnobPattern) -> &[u8] {
    match pattern.pieces().last() {
        Some(Piece::Literal(bytes)) => bytes,
        _ => &[],
    }
}

/// Whether no name matches both, as far as their beginnings and ends show.
pub(super) fn are_disjoint(one: &KnobPattern, other: &KnobPattern) -> bool {
    let (start, other_start) = (literal_start(one), literal_start(other));
    let (end, other_end) = (literal_end(one), literal_end(other));
    let differ = start.iter().zip(other_start).any(|(one, other)| one != other);
    differ || end.iter().rev().zip(other_end.iter().rev()).any(|(one, other)| one != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_and_ends_tell_patterns_apart() {
        for (one, other, expected) in [
            ("net.*.a", "net.*.b", true),
            ("net.x*", "net.y*", true),
            ("net.*", "net.x*", false),
            ("net.*.ab", "net.*.b", true),
            ("net.*ab", "net.*b", false),
            ("**", "net.*.b", false),
            ("net.x", "net.x.*", false),
            ("net.x", "net.y", true),
        ] {
            let parse = |text| KnobPattern::parse(text).unwrap();
            assert_eq!(are_disjoint(&parse(one), &parse(other)), expected, "{one} {other}");
            assert_eq!(are_disjoint(&parse(other), &parse(one)), expected, "{other} {one}");
        }
    }
}
