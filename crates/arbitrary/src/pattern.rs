//! Random patterns and globs, and names next to them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use knobgate_policy::{KnobName, KnobPattern, Piece, TextGlob, Width, limits};

/// Components of names. There are only a few, so that patterns often match names.
const COMPONENTS: &[&str] = &[
    "a",
    "b",
    "ab",
    "kernel",
    "net",
    "ipv4",
    "core",
    "tcp_mem",
    "tcp_rmem",
    "rp_filter",
    "eth0.1",
    "x",
    "y",
    "conf",
    "all",
];

/// A pattern for names.
pub fn knob_pattern() -> BoxedStrategy<KnobPattern> {
    let literal = || vec(select(COMPONENTS), 1..4).prop_map(|components| components.join("/"));
    let subtree =
        literal().prop_map(|prefix| vec![Piece::Literal(format!("{prefix}/").into()), Piece::DoubleStar]);
    let tail =
        literal().prop_map(|suffix| vec![Piece::DoubleStar, Piece::Literal(format!("/{suffix}").into())]);
    let mixed =
        vec(prop_oneof![2 => Just(Vec::new()), 3 => glob_pieces(true)], 1..4).prop_flat_map(|components| {
            vec(select(COMPONENTS), components.len()).prop_map(move |words| {
                let mut pieces = Vec::new();
                for (component, word) in components.iter().zip(words) {
                    if !pieces.is_empty() {
                        pieces.push(Piece::Literal(b"/".to_vec()));
                    }
                    if component.is_empty() {
                        pieces.push(Piece::Literal(word.into()));
                    }
                    pieces.extend(component.iter().cloned());
                }
                pieces
            })
        });
    let odd = vec(prop_oneof![1..=46u8, 48..=255u8], 1..20).prop_map(|bytes| vec![Piece::Literal(bytes)]);
    let pieces = prop_oneof![
        6 => literal().prop_map(|name| vec![Piece::Literal(name.into())]),
        2 => subtree,
        1 => tail,
        4 => mixed,
        1 => odd,
        1 => Just(vec![Piece::DoubleStar]),
    ];
    // Some are too long or have an empty component, which is no pattern.
    let pattern =
        pieces.prop_filter_map("no pattern", |pieces| KnobPattern::parse(notation(&pieces, true)).ok());
    prop_oneof![14 => pattern, 1 => known_width()].boxed()
}

/// A pattern that matches nothing but names below `net/`.
pub fn pattern_below_net() -> BoxedStrategy<KnobPattern> {
    // After `net.`, a pattern may be too long.
    let below = |pattern: KnobPattern| KnobPattern::parse(format!("net.{pattern}")).ok();
    knob_pattern().prop_filter_map("too long below net", below).boxed()
}

/// A pattern of knobs whose [width](Width) is known.
pub fn known_width() -> BoxedStrategy<KnobPattern> {
    let known: Vec<KnobPattern> = Width::all_known().iter().map(|(pattern, _)| pattern.clone()).collect();
    select(known).boxed()
}

/// A glob for texts, without newline and NUL.
pub fn text_glob() -> BoxedStrategy<TextGlob> {
    let literal = prop_oneof!["[a-z0-9]{1,4}".prop_map(String::into_bytes), vec(any::<u8>(), 1..4)];
    let part = prop_oneof![
        1 => literal.prop_map(|bytes| {
            let bytes = bytes.into_iter().filter(|byte| !matches!(byte, b'\n' | 0)).collect();
            vec![Piece::Literal(bytes)]
        }),
        1 => glob_pieces(false),
    ];
    vec(part, 0..4)
        .prop_map(|parts| TextGlob::parse(notation(&parts.concat(), false)).expect("a glob"))
        .boxed()
}

/// A few pieces that hold no separator and no newline.
fn glob_pieces(names: bool) -> BoxedStrategy<Vec<Piece>> {
    let byte = || {
        prop_oneof![4 => b'a'..=b'e', 2 => b'0'..=b'9', 1 => 1..=255u8]
            .prop_map(|byte| if matches!(byte, b'/' | b'\n') { b'-' } else { byte })
    };
    let literal = vec(byte(), 1..4).prop_map(Piece::Literal);
    let class = (any::<bool>(), vec((byte(), byte()), 1..4)).prop_map(|(negated, ends)| {
        let ranges = ends.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        Piece::Class { negated, ranges }
    });
    let wide = if names { Piece::DoubleStar } else { Piece::Star };
    let leaf = prop_oneof![
        3 => literal,
        2 => Just(Piece::Any),
        3 => Just(Piece::Star),
        1 => Just(wide),
        2 => class,
    ];
    let piece =
        leaf.prop_recursive(2, 8, 3, |inner| vec(vec(inner, 0..3), 2..4).prop_map(Piece::Alternatives));
    vec(piece, 1..4).boxed()
}

/// How `pieces` can be written. The language prints them differently: this escapes all that is no letter or digit.
fn notation(pieces: &[Piece], of_names: bool) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => bytes.iter().for_each(|byte| match byte {
                b'/' if of_names => text.push('.'),
                byte => text.push_str(&escaped(*byte)),
            }),
            Piece::Any => text.push('?'),
            // Two of them in a row would be `**`.
            Piece::Star if text.ends_with('*') => {}
            Piece::Star => text.push('*'),
            Piece::DoubleStar => text.push_str("**"),
            Piece::Class { negated, ranges } => {
                text.push_str(if *negated { "[!" } else { "[" });
                for &(low, high) in ranges {
                    text.extend([&escaped(low), "-", &escaped(high)]);
                }
                text.push(']');
            }
            Piece::Alternatives(branches) => {
                let branches: Vec<_> = branches.iter().map(|branch| notation(branch, of_names)).collect();
                text.extend(["{", &branches.join(","), "}"]);
            }
        }
    }
    text
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }
}

/// A name that `pattern` matches, or nearly.
pub fn name_for(pattern: KnobPattern) -> BoxedStrategy<KnobName> {
    (vec(any::<Index>(), 24), 0..8u8, any::<Index>(), any::<u8>())
        .prop_map(move |(choices, change, place, byte)| {
            let mut choices = choices.into_iter().cycle();
            let mut name = Vec::new();
            expand(pattern.pieces(), &mut choices, &mut name);
            match change {
                // Change, add or drop a byte.
                0 if !name.is_empty() => {
                    let at = place.index(name.len());
                    name[at] = byte;
                }
                1 => name.insert(place.index(name.len() + 1), byte),
                2 if !name.is_empty() => {
                    name.remove(place.index(name.len()));
                }
                // Too long to be looked at, or just short enough.
                3 => {
                    let length = limits::NAME_MAX - 1 + place.index(4);
                    name.resize(length.max(name.len()), b'a');
                }
                _ => {}
            }
            valid_name(name)
        })
        .boxed()
}

/// A valid name from these bytes: without NULs and empty components.
fn valid_name(bytes: Vec<u8>) -> KnobName {
    let components: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'/').filter(|component| !component.is_empty()).collect();
    let path: Vec<u8> = components.join(&b'/').into_iter().filter(|byte| *byte != 0).collect();
    KnobName::from_path(path).unwrap_or_else(|_| match KnobName::from_path("a") {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    })
}

/// Appends a name that `pieces` match; `choices` decides between alternatives.
fn expand(pieces: &[Piece], choices: &mut dyn Iterator<Item = Index>, name: &mut Vec<u8>) {
    const COMPONENT: &[&[u8]] = &[b"", b"a", b"eth0.1", b"all", b"x_y"];
    const PATH: &[&[u8]] = &[b"", b"a", b"a/b", b"core/x/y"];
    for piece in pieces {
        let mut pick = |most: usize| choices.next().map_or(0, |choice| choice.index(most));
        match piece {
            Piece::Literal(bytes) => name.extend(bytes),
            Piece::Any => name.push(b'a' + pick(4) as u8),
            Piece::Star => name.extend(COMPONENT[pick(COMPONENT.len())]),
            Piece::DoubleStar => name.extend(PATH[pick(PATH.len())]),
            Piece::Class { negated: false, ranges } => {
                let (low, high) = ranges[pick(ranges.len())];
                name.push(low + pick(usize::from(high - low) + 1) as u8);
            }
            Piece::Class { negated: true, .. } => name.push([b'z', b'a', b'-', b'0'][pick(4)]),
            Piece::Alternatives(branches) => {
                let branch = &branches[pick(branches.len())];
                expand(branch, choices, name);
            }
        }
    }
}
