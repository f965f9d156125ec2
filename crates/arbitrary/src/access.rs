//! Random accesses at the edges of what a policy allows.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use knobgate_policy::{
    Access, Action, Condition, Elements, Integer, KnobNetns, KnobPattern, Operand, Policy, Range, Rule, Task,
    Text, TextTest, limits,
};

use crate::pattern::{knob_pattern, known_width, name_for};

/// An access that is likely to be relevant to `policy`.
pub fn access(policy: &Policy) -> BoxedStrategy<Access> {
    let of_rules = policy.rules().iter().flat_map(Rule::patterns);
    let patterns: Vec<KnobPattern> = of_rules.chain(policy.width_64()).cloned().collect();
    let literals = Literals::of(policy);
    let pattern = if patterns.is_empty() {
        knob_pattern().boxed()
    } else {
        prop_oneof![16 => select(patterns), 2 => knob_pattern(), 1 => known_width()].boxed()
    };
    (pattern, Just(literals)).prop_flat_map(|(pattern, literals)| access_near(pattern, literals)).boxed()
}

/// An access to a knob next to `pattern`, with values next to `texts`.
pub fn access_to(pattern: KnobPattern, texts: Vec<Text>) -> BoxedStrategy<Access> {
    access_near(pattern, Literals { texts, ..Literals::default() }).boxed()
}

/// The literals of a policy.
#[derive(Debug, Clone, Default)]
struct Literals {
    integers: Vec<Integer>,
    texts: Vec<Text>,
    /// The element counts that clamps and conditions ask for.
    counts: Vec<usize>,
    /// A condition takes a value as a set of numbers.
    has_ranges: bool,
}

impl Literals {
    fn of(policy: &Policy) -> Self {
        let mut literals = Self::default();
        for rule in policy.rules() {
            match rule.action() {
                Action::Set(text) => literals.texts.push(Text::from(text.as_bytes())),
                Action::Clamp(ranges) => {
                    literals.counts.push(ranges.len());
                    ranges.iter().for_each(|range| literals.range(range));
                }
                Action::Allow | Action::Deny(_) | Action::Ignore => {}
            }
            if let Some(condition) = rule.condition() {
                literals.condition(condition);
            }
        }
        literals
    }

    fn range(&mut self, range: &Range) {
        self.integers.extend(range.low());
        self.integers.extend(range.high());
    }

    fn operand(&mut self, operand: Operand) {
        match operand {
            Operand::Literal(integer) => self.integers.push(integer),
            Operand::Number(_, elements, mask) => {
                match elements {
                    Elements::Only => {}
                    Elements::At(index) => self.counts.push(usize::from(index) + 1),
                    Elements::Each => self.counts.push(2),
                }
                self.integers.extend(mask.and_then(|mask| Integer::new(mask.get().into())));
            }
            _ => {}
        }
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().for_each(|part| self.condition(part));
            }
            Condition::Not(negated) => self.condition(negated),
            Condition::Chain(chain) => chain.operands().for_each(|operand| self.operand(operand)),
            Condition::InRange(test) => {
                self.operand(test.operand());
                self.range(&test.range());
            }
            Condition::InSet(test) => {
                self.operand(test.operand());
                test.members().iter().for_each(|range| self.range(range));
            }
            Condition::Netns(_) => {}
            Condition::List(_, test) => {
                self.counts.push(test.len());
                test.ranges().iter().for_each(|range| self.range(range));
            }
            Condition::Ranges(test) => {
                test.members().iter().for_each(|range| self.range(range));
                self.has_ranges = true;
            }
            Condition::Text(_, test) => match test {
                TextTest::Equals(text)
                | TextTest::Differs(text)
                | TextTest::StartsWith(text)
                | TextTest::Contains(text) => {
                    self.texts.push(Text::from(text.as_bytes()));
                }
                TextTest::In(texts) => {
                    self.texts.extend(texts.iter().map(|text| Text::from(text.as_bytes())));
                }
                TextTest::Matches(glob) => self.texts.push(Text::from(glob.to_string().as_str())),
            },
        }
    }
}

fn access_near(pattern: KnobPattern, literals: Literals) -> BoxedStrategy<Access> {
    let new = option::weighted(0.75, value(literals.clone()));
    let old = option::weighted(0.9, value(literals.clone()));
    let pos = prop_oneof![
        12 => Just(0u64),
        1 => Just(1u64),
        1 => Just(1 << 32),
        1 => Just((1 << 32) + 1),
        1 => Just(u64::from(u32::MAX)),
        1 => any::<u64>(),
    ];
    (name_for(pattern), new, old, (pos, netns()), task(literals))
        .prop_map(|(knob, new, old, (pos, netns), task)| {
            let knob_netns = netns.filter(|_| knob.is_below_net());
            Access { knob, new, old, pos, knob_netns, task }
        })
        .boxed()
}

/// The network namespace of a knob, most often known.
fn netns() -> BoxedStrategy<Option<KnobNetns>> {
    option::weighted(0.9, select(&KnobNetns::ALL)).boxed()
}

fn task(literals: Literals) -> BoxedStrategy<Task> {
    let ids: Vec<u32> =
        literals.integers.iter().filter_map(|integer| u32::try_from(integer.get()).ok()).collect();
    let id = move || match ids.clone() {
        ids if ids.is_empty() => prop_oneof![Just(0u32), Just(1000), any::<u32>()].boxed(),
        ids => prop_oneof![2 => Just(0u32), 2 => select(ids), 1 => any::<u32>()].boxed(),
    };
    let comm = prop_oneof![2 => text_bytes(literals.texts), 1 => "[a-z]{0,15}".prop_map(String::into_bytes)];
    (id(), id(), comm)
        .prop_map(|(uid, gid, mut comm)| {
            comm.retain(|byte| *byte != 0);
            comm.truncate(limits::COMM_MAX);
            Task::default().uid(uid).gid(gid).comm(comm)
        })
        .boxed()
}

/// The bytes of a value.
fn value(literals: Literals) -> BoxedStrategy<Vec<u8>> {
    let texts = text_bytes(literals.texts.clone());
    let of_ranges = if literals.has_ranges { 6 } else { 1 };
    prop_oneof![
        of_ranges => ranges(literals.clone()),
        6 => numbers(literals.clone()),
        3 => texts,
        1 => vec(any::<u8>(), 0..8),
        1 => Just(Vec::new()),
        2 => long(literals),
    ]
    .boxed()
}

/// Values around the limits on their length.
fn long(literals: Literals) -> BoxedStrategy<Vec<u8>> {
    let length = prop_oneof![
        limits::SHORT_VALUE_MAX - 2..=limits::SHORT_VALUE_MAX + 2,
        limits::REPLACED_MAX - 2..=limits::VALUE_MAX + 2,
        limits::NUMBERS_END_MAX - 2..=limits::NUMBERS_END_MAX + 2,
        0..300usize,
        0..limits::VALUE_MAX,
    ];
    let filler = select(vec![b'a', b'1', b' ', b'\n', b'\t', 0]);
    let content = prop_oneof![
        2 => "[0-9a-z]{0,3}".prop_map(String::into_bytes),
        1 => text_bytes(literals.texts.clone()),
        1 => numbers(literals.clone()),
        2 => (ranges(literals), 1..200usize).prop_map(|(entries, times)| vec![entries; times].join(&b',')),
    ];
    (content, length, filler, any::<bool>())
        .prop_map(|(mut bytes, length, filler, before)| {
            if before {
                let mut padding = vec![filler; length.saturating_sub(bytes.len())];
                padding.append(&mut bytes);
                padding
            } else {
                bytes.resize(length.max(bytes.len()), filler);
                bytes
            }
        })
        .boxed()
}

fn text_bytes(texts: Vec<Text>) -> BoxedStrategy<Vec<u8>> {
    let near = match texts {
        texts if texts.is_empty() => "[a-z ]{0,6}".prop_map(String::into_bytes).boxed(),
        texts => (select(texts), "[a-z]{0,2}", "[a-z]{0,2}")
            .prop_map(|(text, before, after)| [before.as_bytes(), text.as_bytes(), after.as_bytes()].concat())
            .boxed(),
    };
    (near, ending())
        .prop_map(|(mut text, ending)| {
            text.extend(ending.as_bytes());
            text
        })
        .boxed()
}

/// What may follow a value.
fn ending() -> BoxedStrategy<&'static str> {
    prop_oneof![
        4 => Just(""),
        6 => Just("\n"),
        4 => select(vec![" ", "\t", "\n\n", " \n", "\n ", "\n1", "\nx", "\0", "\0\n", "\n\0", "\r\n", "\u{b}", "\0x", "\n\n\n\n\n\n\n"]),
    ].boxed()
}

/// A list of numbers, next to the literals, in odd notations.
fn numbers(literals: Literals) -> BoxedStrategy<Vec<u8>> {
    let mut counts = literals.counts.clone();
    counts.extend([1, 1, 1]);
    let counts: Vec<usize> = counts
        .into_iter()
        .flat_map(|count| [count, count, count, count + 1, count.saturating_sub(1)])
        .collect();
    let near = match literals.integers {
        integers if integers.is_empty() => crate::integer().prop_map(Integer::get).boxed(),
        integers => prop_oneof![
            3 => (select(integers), -1..=1i128).prop_map(|(integer, off)| integer.get() + off),
            1 => crate::integer().prop_map(Integer::get),
        ]
        .boxed(),
    };
    let number = (near, 0..12u8).prop_map(|(number, notation)| written(number, notation));
    let separator = prop_oneof![6 => Just(" "), 3 => Just("\t"), 1 => Just("  "), 1 => Just(" \t ")];
    let start =
        prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t"), 1 => select(vec!["\n", "\u{b}", "\r"])];
    (select(counts), start, separator, ending())
        .prop_flat_map(move |(count, start, separator, ending)| {
            vec(number.clone(), count)
                .prop_map(move |numbers| format!("{start}{}{ending}", numbers.join(separator)).into_bytes())
        })
        .boxed()
}

/// Numbers and ranges with commas between them, next to the literals, in odd notations.
fn ranges(literals: Literals) -> BoxedStrategy<Vec<u8>> {
    let near = match literals.integers {
        integers if integers.is_empty() => (0..70_000i128).boxed(),
        integers => prop_oneof![
            4 => (select(integers), -1..=1i128).prop_map(|(integer, off)| (integer.get() + off).abs()),
            1 => 0..70_000i128,
        ]
        .boxed(),
    };
    let notation = prop_oneof![6 => Just(7u8), 1 => 0..7u8];
    let number = (near, notation).prop_map(|(number, notation)| written(number, notation)).boxed();
    let entry = prop_oneof![
        3 => number.clone(),
        3 => (number.clone(), number).prop_map(|(low, high)| format!("{low}-{high}")),
    ];
    let separator = prop_oneof![9 => Just(","), 1 => select(vec![",,", " ", "-", "\n", ", ", ""])];
    let after = prop_oneof![4 => Just(""), 1 => Just(","), 1 => Just("-")];
    (vec(entry, 0..5), separator, after, ending())
        .prop_map(|(entries, separator, after, ending)| {
            format!("{}{after}{ending}", entries.join(separator)).into_bytes()
        })
        .boxed()
}

/// One number, most often in decimal.
fn written(number: i128, notation: u8) -> String {
    let (sign, magnitude) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    match notation {
        0 => format!("{sign}{magnitude:#x}"),
        1 => format!("{sign}0X{magnitude:X}"),
        2 => format!("{sign}0{magnitude:o}"),
        3 => format!("{sign}0{magnitude}"),
        4 => format!("+{magnitude}"),
        5 => format!("{sign}{magnitude}x"),
        6 => format!("-{magnitude}"),
        _ => format!("{number}"),
    }
}
