//! Which numbers a knob stores unchanged.
//!
//! The kernel parses every number of a value into 64 bits, and most handlers keep 32 of them. Some check that nothing
//! is lost, others do not: before Linux 7.3, `proc_dointvec_ms_jiffies` (kernel/sysctl.c) stores 4294967296 as 0. A
//! bound would then hold for the number that is written, but not for the one that is stored. So a rule evaluates a new
//! number only if it is inside the [`Width`] of the knob.

use std::collections::HashMap;
use std::sync::LazyLock;

use knobgate_catalogue::{Knob, Normalisation, Width as StoredWidth};

use crate::{Integer, KnobPattern, Policy, Range, limits};

/// Which numbers the handler of a knob stores unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Width {
    /// 32 bits, signed or unsigned: −2³¹ to 2³²−1. The width of every knob about which nothing else is known. A handler
    /// of 32 bits stores such a number unchanged or rejects it. Above 2³¹−1, those of `net.ipv6.conf.*.forwarding` and
    /// `vm.lowmem_reserve_ratio` store nothing and succeed.
    #[default]
    Bits32,
    /// 64 bits, signed or unsigned: −2⁶³ to 2⁶⁴−1. The width of knobs that a policy declares with `width 64`.
    Bits64,
    /// 0 to 2³¹−1.
    Unsigned31,
    /// 0 to 2³²−1.
    Unsigned32,
    /// 0 to 2⁶⁴−1. Before Linux 5.19, `proc_doulongvec_minmax` (kernel/sysctl.c) ignores a negative number, and succeeds.
    Unsigned64,
    /// 0 to [`Width::TICKS_MAX`]: `proc_dointvec_userhz_jiffies` (kernel/sysctl.c) multiplies by the ticks of the
    /// timer, and keeps 32 bits of that.
    UserHz,
}

impl Width {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Bits32, Self::Bits64, Self::Unsigned31, Self::Unsigned32, Self::Unsigned64, Self::UserHz];

    /// The greatest number of 1/`USER_HZ` seconds that stays within 31 bits for every `HZ` up to 1000:
    /// (2³¹−1)·`USER_HZ`/`HZ`, where `USER_HZ` is 100.
    pub const TICKS_MAX: u32 = ((i32::MAX as i64) * 100 / 1000) as u32;

    /// The least number and the greatest one.
    pub fn bounds(self) -> (Integer, Integer) {
        let of = |low: i128, high: i128| {
            (Integer::new(low).unwrap_or(Integer::MIN), Integer::new(high).unwrap_or(Integer::MAX))
        };
        match self {
            Width::Bits32 => of(i32::MIN.into(), u32::MAX.into()),
            Width::Bits64 => (Integer::MIN, Integer::MAX),
            Width::Unsigned31 => of(0, i32::MAX as i128),
            Width::Unsigned32 => of(0, u32::MAX.into()),
            Width::Unsigned64 => of(0, u64::MAX.into()),
            Width::UserHz => of(0, Self::TICKS_MAX.into()),
        }
    }

    /// The same as a range.
    pub fn range(self) -> Range {
        let (low, high) = self.bounds();
        Range::new(Some(low), Some(high)).unwrap_or(Range::ALL)
    }

    /// Whether `number` is stored unchanged.
    pub fn contains(self, number: Integer) -> bool {
        self.range().contains(number)
    }

    /// The known width of the knob `name` (in canonical form); `None` if the catalogue has none.
    pub fn known(name: &[u8]) -> Option<Self> {
        KNOWN.literals.get(name).copied().or_else(|| {
            KNOWN.globs.iter().find(|(pattern, _)| pattern.matches(name)).map(|(_, width)| *width)
        })
    }

    /// The width of the knob `name`, if these patterns are declared to have 64 bits.
    pub(crate) fn of(name: &[u8], declared: &[KnobPattern]) -> Self {
        let is_declared = || declared.iter().any(|pattern| pattern.matches(name));
        Self::known(name).unwrap_or_else(|| if is_declared() { Self::Bits64 } else { Self::default() })
    }

    /// The knobs that are known to have a width other than [`Width::Bits32`]. No two patterns match the same name.
    pub fn all_known() -> &'static [(KnobPattern, Width)] {
        &ALL
    }
}

/// How the knobs that `pattern` matches change what is written, if it is known of all of them.
pub fn known_normalisation(pattern: &KnobPattern) -> Option<Normalisation> {
    let found = NORMALISATIONS.iter().find(|(known, _)| match pattern.literal() {
        Some(name) => known.matches(name),
        None => known == pattern,
    });
    found.map(|(_, how)| *how)
}

/// The knobs that are known to change what is written.
pub fn known_normalisations() -> &'static [(KnobPattern, Normalisation)] {
    &NORMALISATIONS
}

static NORMALISATIONS: LazyLock<Vec<(KnobPattern, Normalisation)>> = LazyLock::new(|| known(Knob::stores));

/// What the catalogue has about knobs, by their pattern. A name of which a pattern says the same is left out.
fn known<T: PartialEq>(of: impl Fn(&'static Knob) -> Option<T>) -> Vec<(KnobPattern, T)> {
    let all = || knobgate_catalogue::all().iter().filter_map(|knob| Some((knob, of(knob)?)));
    let patterns: Vec<(KnobPattern, T)> =
        all().filter(|(knob, _)| !knob.is_literal()).map(|(knob, what)| (pattern_of(knob), what)).collect();
    let is_said = |knob: &Knob, what: &T| {
        let name = knob.pattern().as_bytes();
        knob.is_literal() && patterns.iter().any(|(pattern, of)| pattern.matches(name) && of == what)
    };
    all().filter(|(knob, what)| !is_said(knob, what)).map(|(knob, what)| (pattern_of(knob), what)).collect()
}

/// The names that an entry of the catalogue is about. A placeholder stands for any one component.
fn pattern_of(knob: &Knob) -> KnobPattern {
    let components = knob.pattern().split('/').map(|part| if part.starts_with('<') { "*" } else { part });
    KnobPattern::parse(components.collect::<Vec<_>>().join("/"))
        .expect("names of the catalogue have nothing special")
}

/// A number with this many decimal digits is inside every width.
pub const SHORT_DIGITS: u32 = 8;
const _: () = assert!(10u32.pow(SHORT_DIGITS) - 1 <= Width::TICKS_MAX);

impl Policy {
    /// The width of the knob `name` (in canonical form): the [known](Width::all_known) one, otherwise what the policy
    /// declares. Nothing is known about names longer than [`NAME_MAX`](limits::NAME_MAX).
    pub fn width_of(&self, name: &[u8]) -> Width {
        if name.len() > limits::NAME_MAX { self.width_elsewhere() } else { Width::of(name, self.width_64()) }
    }

    /// The width of knobs that are neither known nor declared by the policy.
    pub fn width_elsewhere(&self) -> Width {
        if self.width_64().iter().any(KnobPattern::matches_every_name) {
            Width::Bits64
        } else {
            Width::default()
        }
    }
}

static ALL: LazyLock<Vec<(KnobPattern, Width)>> = LazyLock::new(|| {
    known(|knob| match knob.width() {
        StoredWidth::Bits32 => None,
        StoredWidth::Unsigned31 => Some(Width::Unsigned31),
        StoredWidth::Unsigned32 => Some(Width::Unsigned32),
        StoredWidth::Unsigned64 => Some(Width::Unsigned64),
        StoredWidth::UserHz => Some(Width::UserHz),
    })
});

static KNOWN: LazyLock<KnownWidths> = LazyLock::new(|| {
    let (literals, globs): (Vec<_>, Vec<_>) =
        ALL.iter().partition(|(pattern, _)| pattern.literal().is_some());
    let literals =
        literals.into_iter().filter_map(|(pattern, width)| Some((pattern.literal()?, *width))).collect();
    KnownWidths { literals, globs: globs.into_iter().map(|(pattern, width)| (pattern, *width)).collect() }
});

/// [`ALL`], for lookups by name.
struct KnownWidths {
    literals: HashMap<&'static [u8], Width>,
    globs: Vec<(&'static KnobPattern, Width)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_is_listed_once() {
        assert!(Width::all_known().len() > 50);
        for (at, (pattern, _)) in Width::all_known().iter().enumerate() {
            for (other, _) in &Width::all_known()[..at] {
                assert_ne!(pattern, other);
                for (one, another) in [(pattern, other), (other, pattern)] {
                    let matched = one.literal().is_some_and(|name| another.matches(name));
                    assert!(!matched, "{one} is matched by {another}");
                }
            }
        }
    }
}
