//! Patterns and names, looked up in the [catalogue](knobgate_catalogue) of knobs.

mod cover;
mod other_names;
mod similar;
mod starting_policy;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use knobgate_catalogue::{Knob, Variant, all, find, kernels};
use knobgate_glob::{Budget, Piece, TooLarge, common_name};

use crate::KnobPattern;
use crate::notation;

pub(crate) use other_names::{OtherName, other_names};
pub use similar::did_you_mean;
pub use starting_policy::{host_knobs_preset, starting_policy};

/// What a single look-up may take at most.
const STEPS_MAX: usize = 1 << 22;

/// What a match costs, in steps of the budget: some memory, and what is done with it.
const MATCH_COST: usize = 16;

/// The entries of the catalogue that have a name in common with `pattern`, sorted; `None` if finding out takes too much work.
///
/// ```
/// use knobgate_policy::{KnobPattern, catalogue};
///
/// let patterns = |pattern| {
///     let knobs = catalogue::matching(&KnobPattern::parse(pattern).unwrap()).unwrap();
///     knobs.into_iter().map(|knob| knob.pattern()).collect::<Vec<_>>()
/// };
/// assert_eq!(patterns("net.ipv4.conf.lxc*.rp_filter"), ["net/ipv4/conf/<interface>/rp_filter"]);
/// assert_eq!(patterns("kernel.osty*"), ["kernel/ostype"]);
/// assert!(patterns("kernel.no_such_knob").is_empty());
/// ```
pub fn matching(pattern: &KnobPattern) -> Option<Vec<&'static Knob>> {
    let found = matches(pattern, &mut Budget::steps(STEPS_MAX)).ok()?;
    Some(found.into_iter().map(|found| found.knob).collect())
}

/// How many numbers every knob has that `pattern` matches, on every kernel: 3 for `net.ipv4.tcp_{r,w}mem`. `None` if that is not known, not
/// the same for all of them, or there is none.
pub fn count_of_numbers(pattern: &KnobPattern) -> Option<usize> {
    common_count(matching(pattern)?)
}

/// How many numbers each of these has, if that is known and the same.
pub(crate) fn common_count(knobs: impl IntoIterator<Item = &'static Knob>) -> Option<usize> {
    let mut counts = knobs.into_iter().flat_map(Knob::variants).map(Variant::elements);
    let first = counts.next()??;
    counts.all(|count| count == Some(first)).then_some(())?;
    usize::try_from(first).ok()
}

/// The kernels of the catalogue: `Linux 5.10 to 7.3`.
pub(crate) fn catalogued() -> String {
    let (first, last) = (kernels().first(), kernels().last());
    let series = first.zip(last).map(|(first, last)| (first.series(), last.series()));
    series.map_or_else(String::new, |(first, last)| format!("Linux {first} to {last}"))
}

/// An entry that has a name in common with a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) knob: &'static Knob,
    /// Such a name.
    pub(crate) name: Cow<'static, [u8]>,
}

/// The entries that have a name in common with `pattern`, sorted.
pub(crate) fn matches(pattern: &KnobPattern, budget: &mut Budget) -> Result<Vec<Match>, TooLarge> {
    let mut found = Vec::new();
    for_each_match(pattern, budget, |one| {
        found.push(one);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Whether there is such an entry.
pub(crate) fn has_match(pattern: &KnobPattern, budget: &mut Budget) -> Result<bool, TooLarge> {
    let mut is_found = false;
    for_each_match(pattern, budget, |_| {
        is_found = true;
        ControlFlow::Break(())
    })?;
    Ok(is_found)
}

fn for_each_match(
    pattern: &KnobPattern,
    budget: &mut Budget,
    mut found: impl FnMut(Match) -> ControlFlow<()>,
) -> Result<(), TooLarge> {
    if let Some(name) = pattern.literal() {
        if let Some(knob) = find(name) {
            budget.spend(MATCH_COST)?;
            let _ = found(Match { knob, name: name.to_vec().into() });
        }
        return Ok(());
    }
    let ends = Ends::of(pattern.pieces());
    for (knob, pieces) in ENTRIES.iter() {
        budget.spend(1)?;
        if !ends.meet(Ends::of(pieces)) {
            continue;
        }
        let name = match pieces.as_slice() {
            [Piece::Literal(name)] => {
                budget.spend(name.len() * notation::size(pattern.pieces()))?;
                pattern.matches(name).then_some(Cow::Borrowed(knob.pattern().as_bytes()))
            }
            _ => name_of(pattern, knob, pieces, budget)?.map(Cow::Owned),
        };
        if let Some(name) = name {
            budget.spend(MATCH_COST)?;
            if found(Match { knob, name }).is_break() {
                break;
            }
        }
    }
    Ok(())
}

/// A name that `pattern` matches and that the entry `knob`, which has these pieces, is about. Where another entry is about the
/// name that is found first, each of the pattern's alternatives is tried.
fn name_of(
    pattern: &KnobPattern,
    knob: &'static Knob,
    pieces: &[Piece],
    budget: &mut Budget,
) -> Result<Option<Vec<u8>>, TooLarge> {
    let Some(name) = common_name(pattern.pieces(), pieces, budget)? else { return Ok(None) };
    if find(&name).is_some_and(|about| std::ptr::eq(about, knob)) {
        return Ok(Some(name));
    }
    for branch in branches(&pattern.to_string()) {
        // Each of them is a pattern, but may be one that matches nothing.
        let Ok(branch) = KnobPattern::parse(&branch) else { continue };
        if let Some(name) = name_of(&branch, knob, pieces, budget)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The pattern with each of the alternatives in its first `{…}` instead of that; nothing if it has none.
fn branches(pattern: &str) -> Vec<String> {
    let (mut depth, mut escaped, mut cuts) = (0usize, false, Vec::new());
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => {
                depth += 1;
                if depth == 1 {
                    cuts.push(at);
                }
            }
            ',' if depth == 1 => cuts.push(at),
            '}' if depth == 1 => {
                cuts.push(at);
                break;
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let (Some(&open), Some(&close)) = (cuts.first(), cuts.last()) else { return Vec::new() };
    let (before, after) = (&pattern[..open], &pattern[close + 1..]);
    cuts.windows(2).map(|ends| format!("{before}{}{after}", &pattern[ends[0] + 1..ends[1]])).collect()
}

/// What all names that a pattern matches begin and end with.
#[derive(Clone, Copy)]
struct Ends<'a> {
    first: &'a [u8],
    last: &'a [u8],
}

impl<'a> Ends<'a> {
    fn of(pieces: &'a [Piece]) -> Self {
        let literal = |piece: Option<&'a Piece>| match piece {
            Some(Piece::Literal(bytes)) => bytes.as_slice(),
            _ => b"",
        };
        Self { first: literal(pieces.first()), last: literal(pieces.last()) }
    }

    /// Whether a name may begin and end with both.
    fn meet(self, other: Self) -> bool {
        let starts = |one: &[u8], another: &[u8]| one.starts_with(another) || another.starts_with(one);
        let ends = |one: &[u8], another: &[u8]| one.ends_with(another) || another.ends_with(one);
        starts(self.first, other.first) && ends(self.last, other.last)
    }
}

/// All entries, with their patterns.
static ENTRIES: LazyLock<Vec<(&'static Knob, Vec<Piece>)>> =
    LazyLock::new(|| all().iter().map(|knob| (knob, pieces(knob))).collect());

/// The names of an entry, as a pattern: a placeholder is a component with at least one byte.
fn pieces(knob: &Knob) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    for (index, component) in knob.pattern().split('/').enumerate() {
        if index > 0 {
            literal.push(b'/');
        }
        if component.starts_with('<') {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.extend([Piece::Any, Piece::Star]);
        } else {
            literal.extend_from_slice(component.as_bytes());
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<(&'static str, String)> {
        let found = matches(&KnobPattern::parse(pattern).unwrap(), &mut Budget::steps(1 << 20)).unwrap();
        let name = |found: Match| (found.knob.pattern(), String::from_utf8(found.name.into_owned()).unwrap());
        found.into_iter().map(name).collect()
    }

    #[test]
    fn a_placeholder_is_any_component() {
        let of_interface = "net/ipv4/conf/<interface>/rp_filter";
        for (pattern, name) in [
            ("net.ipv4.conf.eth0.rp_filter", "net/ipv4/conf/eth0/rp_filter"),
            ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
            ("net.ipv4.conf.lxc*.rp_filter", "net/ipv4/conf/lxc/rp_filter"),
            ("net.**.{x,y}.rp_*", "net/ipv4/conf/x/rp_filter"),
        ] {
            assert!(
                names(pattern).contains(&(of_interface, name.to_owned())),
                "{pattern}: {:?}",
                names(pattern)
            );
        }
        assert_eq!(names("net.ipv4.conf.lxc*.*.rp_filter"), []);
        assert_eq!(names("net.ipv4.conf.lxc*rp_filter"), []);
    }

    #[test]
    fn the_entry_about_a_name_is_found_and_no_other() {
        let of_all = "net/ipv4/conf/all/forwarding";
        assert_eq!(names("net.ipv4.conf.all.forwarding"), [(of_all, of_all.to_owned())]);
        assert_eq!(names("net.ipv4.conf.a[l]l.forwarding"), [(of_all, of_all.to_owned())]);
        let patterns: Vec<&str> =
            names("net.ipv4.conf.*.forwarding").into_iter().map(|(pattern, _)| pattern).collect();
        assert!(patterns.contains(&of_all) && patterns.contains(&"net/ipv4/conf/<interface>/forwarding"));
        for others in ["{all,eth0}", "{default,{all,wlan0}}", "{all,\\{a\\}}"] {
            let found = names(&format!("net.ipv4.conf.{others}.forwarding"));
            assert!(
                found.iter().any(|(pattern, _)| *pattern == "net/ipv4/conf/<interface>/forwarding"),
                "{others}"
            );
        }
        assert_eq!(names("net.ipv4.conf.{all,default}.forwarding").len(), 2);
    }

    #[test]
    fn every_entry_matches_itself() {
        for (knob, pieces) in ENTRIES.iter() {
            let found = matches(
                &KnobPattern::parse(knob.pattern().replace("<", "\\<").replace(">", "\\>")).unwrap(),
                &mut Budget::steps(1 << 20),
            );
            assert!(found.unwrap().iter().any(|found| std::ptr::eq(found.knob, *knob)), "{pieces:?}");
        }
        assert_eq!(names("**").len(), all().len());
    }

    #[test]
    fn a_look_up_that_takes_too_long_is_an_error() {
        let pattern = KnobPattern::parse("**").unwrap();
        assert_eq!(matches(&pattern, &mut Budget::steps(20)).unwrap_err(), TooLarge);
    }
}
