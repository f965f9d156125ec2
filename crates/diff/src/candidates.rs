//! Values that stand for all values: at least one for each part.

use knobgate_policy::limits::{COMM_MAX, ELEMENTS_MAX, SHORT_VALUE_MAX, VALUE_MAX};
use knobgate_policy::{Integer, KnobNetns, Text, TextTest};

use crate::atoms::{Atoms, Cuts, ValueAtoms};
use crate::region::{Part, Subject};
use crate::texts;

/// One value, and the part of all values that it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<T> {
    pub(crate) part: Part,
    pub(crate) value: T,
}

/// The bytes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bytes {
    Missing,
    These(Vec<u8>),
    /// Those of the new value.
    SameAsNew,
}

/// Why a set of values does not stand for all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A rule clamps several numbers, compares each of them, or compares how many there are with another number; or a rule
    /// looks at one of several, and `ignore` may write the current value.
    SeveralNumbers,
    /// A rule looks at some bits of a number.
    Masks,
    /// A rule takes a value as a set of numbers.
    Ranges,
    /// Rules look at a value as a number, and also test its text with `matches`, `starts with` or `contains`; or `ignore`
    /// may write a text that is tested like that.
    TextAndNumbers,
    /// The tests of a text have too many results together.
    TextsTooComplex,
    /// Too many combinations of values would have to be tried.
    TooManyCases,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SeveralNumbers => {
                "rules rewrite or compare each of several numbers, or compare their count with a number"
            }
            Self::Masks => "rules look at some bits of a number",
            Self::Ranges => "rules take a value as a set of numbers",
            Self::TextAndNumbers => "rules look at one value as a number and test its text",
            Self::TextsTooComplex => "the tests of a text have too many results together",
            Self::TooManyCases => "too many combinations of values would have to be tried",
        })
    }
}

/// Candidates for the new value, in every length that matters.
pub(crate) fn new_values(
    atoms: &Atoms<'_>,
    old: &[Candidate<Bytes>],
    reasons: &mut Vec<Reason>,
) -> Vec<Candidate<Bytes>> {
    if !atoms.new.is_used {
        return vec![Candidate { part: Part::Any, value: Bytes::These(b"1\n".to_vec()) }];
    }
    let mut fits = atoms.lengths.clone();
    if atoms.ignores {
        fits.extend(old.iter().filter_map(|old| match &old.value {
            Bytes::These(bytes) => Some(text_length(bytes)),
            _ => None,
        }));
    }
    // Just too short, and just long enough.
    let lengths: Vec<usize> = fits.iter().flat_map(|&length| [length.saturating_sub(1), length]).collect();
    let mut values = Vec::new();
    let mut push = |part: &Part, bytes: Vec<u8>| {
        values.push(Candidate { part: part.clone(), value: Bytes::These(bytes) });
    };
    let mut padded = |part: &Part, bytes: &[u8], fill: u8| {
        push(part, bytes.to_vec());
        for &length in lengths.iter().filter(|&&length| length > bytes.len() && length <= VALUE_MAX) {
            let mut longer = bytes.to_vec();
            longer.resize(length, fill);
            push(part, longer);
        }
    };
    for Candidate { part, value } in parts(&atoms.new, relations(atoms, Subject::New), VALUE_MAX, reasons) {
        match part {
            Part::Text(_) | Part::TextLike(_) | Part::OtherText => {
                let mut line = value;
                if line.is_empty() {
                    line.push(b'\n');
                }
                padded(&part, &line, b'\n');
                // The same text, but not what a rewrite would make of it; with a NUL, it is no number.
                for rest in [&b"\0"[..], b"\n "] {
                    let other = [line.strip_suffix(b"\n").unwrap_or(&line), rest].concat();
                    if other.len() <= VALUE_MAX {
                        padded(&part, &other, *rest.last().unwrap_or(&0));
                    }
                }
            }
            _ => {
                padded(&part, &value, b'\n');
                if atoms.ignores {
                    // The same number, but not the same bytes as those of a shorter current value.
                    padded(&part, &[value.as_slice(), b" "].concat(), b'\n');
                }
            }
        }
    }
    for list in lists(&atoms.new, relations(atoms, Subject::New), reasons) {
        padded(&Part::List, &list, b'\n');
    }
    padded(&Part::GoesOn, b"\nx", b'x');
    push(&Part::TooLong, vec![b'x'; VALUE_MAX + 1]);
    values.push(Candidate { part: Part::Missing, value: Bytes::These(Vec::new()) });
    values
}

/// Candidates for the current value.
pub(crate) fn old_values(atoms: &Atoms<'_>, reasons: &mut Vec<Reason>) -> Vec<Candidate<Bytes>> {
    if !atoms.old.is_used {
        return vec![Candidate { part: Part::Any, value: Bytes::These(b"1\n".to_vec()) }];
    }
    // More than any text that the rules compare the new value with.
    let of_new = parts(&atoms.new, relations(atoms, Subject::New), VALUE_MAX, &mut Vec::new());
    let longest = of_new.iter().map(|candidate| candidate.value.len()).max().unwrap_or(0);
    let too_long = (longest + 1).clamp(SHORT_VALUE_MAX, VALUE_MAX);
    let mut values = Vec::new();
    let mut push = |part: &Part, value: Bytes| values.push(Candidate { part: part.clone(), value });
    for Candidate { part, value } in parts(&atoms.old, relations(atoms, Subject::Old), VALUE_MAX, reasons) {
        // A NUL makes a text of a number.
        if let Part::Text(_) = part {
            push(&part, Bytes::These([value.as_slice(), b"\0"].concat()));
        }
        if atoms.ignores && !matches!(part, Part::Text(_)) {
            // It fits into nothing that is shorter.
            let mut long = value.clone();
            long.resize(too_long.max(long.len()), b' ');
            push(&part, Bytes::These(long));
        }
        let ends: &[u8] = if value.len() < VALUE_MAX { b"\n" } else { b"" };
        push(&part, Bytes::These([value.as_slice(), ends].concat()));
    }
    for list in lists(&atoms.old, relations(atoms, Subject::Old), reasons) {
        push(&Part::List, Bytes::These(list));
    }
    if atoms.ignores {
        push(&Part::SameAsNew, Bytes::SameAsNew);
    }
    push(&Part::GoesOn, Bytes::These(b"\nx".to_vec()));
    push(&Part::Missing, Bytes::Missing);
    values
}

/// Candidates for the name of the task.
pub(crate) fn names(atoms: &ValueAtoms<'_>, reasons: &mut Vec<Reason>) -> Vec<Candidate<Vec<u8>>> {
    if !atoms.is_used {
        return vec![Candidate { part: Part::Any, value: Vec::new() }];
    }
    parts(atoms, 1, COMM_MAX, reasons)
}

/// Candidates for a number of 32 bits.
pub(crate) fn ids(cuts: Option<&Cuts>, relations: usize) -> Vec<Candidate<u32>> {
    let Some(cuts) = cuts else { return vec![Candidate { part: Part::Any, value: 0 }] };
    let mut ids = Vec::new();
    for (low, high) in intervals(cuts, 0, u32::MAX.into()) {
        for number in near_zero(low, high, relations) {
            ids.push(Candidate { part: part(low, high), value: number as u32 });
        }
    }
    ids
}

/// Candidates for the network namespace of the knob, if it makes a difference. Kernels do not fail to say which one it is.
pub(crate) fn netns(makes_difference: bool) -> Vec<Candidate<Option<KnobNetns>>> {
    if !makes_difference {
        return vec![Candidate { part: Part::Any, value: None }];
    }
    KnobNetns::ALL.map(|netns| Candidate { part: Part::Netns(netns), value: Some(netns) }).into()
}

/// How many numbers are compared with each other, if `subject` is one of them; otherwise 1.
pub(crate) fn relations(atoms: &Atoms<'_>, subject: Subject) -> usize {
    let is_related = atoms.related.iter().any(|(related, _)| *related == subject);
    if is_related { atoms.related.len() } else { 1 }
}

fn part(low: i128, high: i128) -> Part {
    let integer = |number| Integer::new(number).unwrap_or(Integer::MAX);
    Part::Number(integer(low), integer(high))
}

/// One of the shortest values of each part, without the newline at the end. `relations` numbers of each interval.
fn parts(
    atoms: &ValueAtoms<'_>,
    relations: usize,
    length: usize,
    reasons: &mut Vec<Reason>,
) -> Vec<Candidate<Vec<u8>>> {
    let mut values = Vec::new();
    let texts: Vec<&[u8]> =
        atoms.texts.iter().map(Vec::as_slice).filter(|text| text.len() <= length).collect();
    if atoms.has_numbers {
        let mut intervals = intervals(&atoms.cuts, Integer::MIN.get(), Integer::MAX.get());
        // Examples are the first candidates.
        intervals.sort_by_key(|&(low, high)| (high < 0, 0.clamp(low, high).abs()));
        for (low, high) in intervals {
            for number in near_zero(low, high, relations) {
                let value = notation(number, &texts, &atoms.tests);
                values.push(Candidate { part: part(low, high), value });
            }
        }
    }
    for text in &texts {
        values.push(Candidate { part: Part::Text(Text::from(*text)), value: text.to_vec() });
    }
    if !atoms.tests.is_empty() && (atoms.has_numbers || relations > 1) {
        reasons.push(Reason::TextAndNumbers);
    }
    if atoms.tests.is_empty() {
        let others = other_texts(&texts).into_iter().take(relations);
        values.extend(others.map(|value| Candidate { part: Part::OtherText, value }));
    } else {
        // Names of tasks may have a newline, and no text ends at one in the middle of a value.
        let excluded: &[u8] = if length == COMM_MAX { b"\0" } else { b"\0\n" };
        match texts::examples(&atoms.tests, &texts, length, excluded) {
            Some(examples) => values.extend(examples.into_iter().map(|example| Candidate {
                part: Part::TextLike(Text::from(example.as_slice())),
                value: example,
            })),
            None => {
                reasons.push(Reason::TextsTooComplex);
                let others = other_texts(&texts).into_iter().take(1);
                values.extend(others.map(|value| Candidate { part: Part::OtherText, value }));
            }
        }
    }
    values
}

/// Short texts that are no numbers and none of these.
fn other_texts(texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let letters = (b'g'..=b'w').map(|byte| vec![byte]);
    // There are more of them than texts.
    let longer = (2..=texts.len() + 3).map(|length| vec![b'y'; length]);
    letters.chain(longer).filter(|text| !texts.contains(&text.as_slice())).collect()
}

/// The shortest notation of `number` that is none of these texts, and for which, if possible, no test holds.
fn notation(number: i128, texts: &[&[u8]], tests: &[&TextTest]) -> Vec<u8> {
    let (sign, magnitude) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let mut notations = vec![
        format!("{number}"),
        format!("{sign}{magnitude:#x}"),
        format!("{sign}0x{magnitude:X}"),
        format!("{sign}0X{magnitude:x}"),
        format!("{sign}0X{magnitude:X}"),
        format!("{sign}0{magnitude:o}"),
        format!("{number} "),
        format!(" {number}"),
        format!("{number}\t"),
        format!("\t{number}"),
    ];
    // There are more of them than texts.
    notations.extend((2..=texts.len() + 2).map(|blanks| format!("{number}{}", " ".repeat(blanks))));
    notations.sort_by_key(String::len);
    let is_free = |notation: &&String| !texts.contains(&notation.as_bytes());
    let is_untested = |notation: &&String| tests.iter().all(|test| !test.holds(notation.as_bytes()));
    let free = || notations.iter().filter(is_free);
    let found = free().find(is_untested).or_else(|| free().next());
    found.map_or_else(|| number.to_string(), String::clone).into_bytes()
}

/// The intervals between `low` and `high` that begin at the cuts.
fn intervals(cuts: &Cuts, low: i128, high: i128) -> Vec<(i128, i128)> {
    let starts: Vec<i128> = std::iter::once(low).chain(cuts.range(low + 1..=high).copied()).collect();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([high]);
    starts.iter().copied().zip(ends).collect()
}

/// So many numbers of an interval, those with the fewest digits first; fewer if it has no more.
fn near_zero(low: i128, high: i128, count: usize) -> Vec<i128> {
    let first = 0.clamp(low, high);
    let further = (1..=count as i128).flat_map(|off| [first + off, first - off]);
    let inside = further.filter(|number| (low..=high).contains(number));
    std::iter::once(first).chain(inside).take(count).collect()
}

/// The most values of several numbers that are tried.
const LISTS_MAX: usize = 1 << 14;

/// Values of several numbers, and of none: every count of them that matters, and for each number that rules look at,
/// `relations` numbers of each interval.
fn lists(value: &ValueAtoms<'_>, relations: usize, reasons: &mut Vec<Reason>) -> Vec<Vec<u8>> {
    if !value.is_counted && value.elements.is_empty() {
        return Vec::new();
    }
    let texts: Vec<&[u8]> = value.texts.iter().map(Vec::as_slice).collect();
    let numbers: Vec<Vec<u8>> = intervals(&value.cuts, Integer::MIN.get(), Integer::MAX.get())
        .into_iter()
        .flat_map(|(low, high)| near_zero(low, high, relations))
        .map(|number| notation(number, &[], &[]))
        .collect();
    let last = value.elements.last().map_or(0, |&last| usize::from(last));
    let longest = if value.is_counted { ELEMENTS_MAX } else { (last + 1).max(2) };
    let mut lists = vec![b" ".to_vec()];
    for length in 2..=longest {
        let used: Vec<usize> =
            value.elements.iter().map(|&index| usize::from(index)).filter(|&index| index < length).collect();
        let count = numbers.len().saturating_pow(used.len() as u32);
        if lists.len().saturating_add(count) > LISTS_MAX {
            reasons.push(Reason::TooManyCases);
        }
        for choice in 0..count.min(LISTS_MAX.saturating_sub(lists.len())) {
            let mut list: Vec<&[u8]> = vec![b"0"; length];
            let mut rest = choice;
            for &index in &used {
                list[index] = &numbers[rest % numbers.len()];
                rest /= numbers.len();
            }
            let separators = [&b" "[..], b"\t", b"  ", b" \t"];
            let written = separators.map(|separator| list.join(separator));
            let free = written.iter().find(|list| !texts.contains(&list.as_slice()));
            lists.push(free.unwrap_or(&written[0]).clone());
        }
    }
    lists
}

/// The length of the text of a value.
fn text_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(bytes.len())
}
