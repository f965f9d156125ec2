//! Random policies, and accesses that are relevant to them, for property tests.
//!
//! Every policy that [`policy`] generates is valid. [`access`] generates edge cases: names next to the patterns, and
//! values next to the literals, in every notation and at every position.
#![forbid(unsafe_code)]

mod access;
mod pattern;
mod selector;

pub use access::{access, access_to};
pub use pattern::{knob_pattern, known_width, name_for, pattern_below_net, text_glob};
pub use selector::selector;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use knobgate_policy::{
    AccessKind, Action, Condition, Defaults, Errno, EventRate, Expected, Fallback, FallbackAction, Integer,
    Kinds, KnobNetns, ListTest, Logging, Mask, Mode, Operand, Policy, Range, Relation, Rule, Test, TestStep,
    TextOperand, TextTest, Value, ValueText, limits,
};

/// A policy of a few rules, with tests.
pub fn policy() -> BoxedStrategy<Policy> {
    policy_with_rules(0..8).boxed()
}

/// A policy with this many rules.
pub fn policy_with_rules(rules: impl Into<proptest::collection::SizeRange>) -> BoxedStrategy<Policy> {
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Audit)];
    let widths = prop_oneof![2 => vec(knob_pattern(), 0..1), 1 => vec(knob_pattern(), 1..3)];
    let apply_if = prop_oneof![2 => Just(Vec::new()), 1 => vec(selector(), 1..3)];
    (name(), mode, (fallback(), fallback()), vec(rule(), rules), vec(test(), 0..2), (widths, apply_if))
        .prop_map(|(name, mode, (read, write), rules, tests, (width_64, apply_if))| {
            let policy = Policy::new(name).expect("a name");
            let policy = policy.with_mode(mode).with_defaults(Defaults { read, write });
            policy.with_rules(rules).with_tests(tests).with_width_64(width_64).with_apply_if(apply_if)
        })
        .boxed()
}

fn name() -> BoxedStrategy<String> {
    prop_oneof![6 => "[a-z][a-z0-9._-]{0,12}", 1 => "[A-Za-z0-9._-]{1,63}"].boxed()
}

fn fallback() -> BoxedStrategy<Fallback> {
    let action = prop_oneof![Just(FallbackAction::Allow), errno().prop_map(FallbackAction::Deny)];
    (action, option::of(logging())).prop_map(|(action, log)| Fallback { action, log }).boxed()
}

/// `log` with any limit, or `nolog`.
fn logging() -> BoxedStrategy<Logging> {
    let rate = prop_oneof![1..100u32, 1..=limits::EVENTS_PER_SECOND_MAX];
    prop_oneof![
        Just(Logging::Never),
        Just(Logging::DEFAULT),
        rate.prop_map(|rate| Logging::Limited(EventRate::per_second(rate).expect("a rate"))),
        Just(Logging::All),
    ]
    .boxed()
}

/// An errno, most often `EPERM`.
pub fn errno() -> BoxedStrategy<Errno> {
    prop_oneof![2 => Just(Errno::EPERM), 1 => select(Errno::ALL)].boxed()
}

/// A valid rule.
pub fn rule() -> BoxedStrategy<Rule> {
    (action(), select(vec![Kinds::Read, Kinds::Write, Kinds::Write, Kinds::Both]))
        .prop_flat_map(|(action, kinds)| {
            let kinds = if action.rewrites() { Kinds::Write } else { kinds };
            let new = kinds != Kinds::Read;
            let below_net = pattern::pattern_below_net();
            let conditions = prop_oneof![
                5 => (option::weighted(0.6, condition(new)), vec(pattern::knob_pattern(), 1..4)),
                1 => (condition_on_netns(new).prop_map(Some), vec(below_net, 1..4)),
            ];
            (Just(action), Just(kinds), conditions, option::of(logging())).prop_map(
                |(action, kinds, (condition, patterns), log)| {
                    let rule = Rule::new(action, kinds, patterns).expect("a rule");
                    rule.with_condition(condition).expect("a condition").with_log(log)
                },
            )
        })
        .boxed()
}

fn action() -> BoxedStrategy<Action> {
    let clamp = |ranges: Vec<Range>| Action::clamp(ranges).expect("ranges");
    prop_oneof![
        3 => Just(Action::Allow),
        2 => errno().prop_map(Action::Deny),
        2 => text().prop_map(Action::Set),
        2 => vec(range(), 1..=3).prop_map(clamp),
        1 => vec(range(), 1..=limits::ELEMENTS_MAX).prop_map(clamp),
        2 => Just(Action::Ignore),
    ]
    .boxed()
}

/// An integer of the language: small ones, powers of two and their neighbours, the ends of the range.
pub fn integer() -> BoxedStrategy<Integer> {
    let near_power = (0..=64u32, -1..=1i128, any::<bool>()).prop_map(|(power, off, negative)| {
        let magnitude = (1i128 << power) + off;
        if negative { -magnitude } else { magnitude }
    });
    prop_oneof![
        4 => -2..20i128,
        2 => 0..70_000i128,
        2 => near_power,
        1 => any::<u64>().prop_map(i128::from),
        1 => any::<i64>().prop_map(i128::from),
    ]
    .prop_map(|value| {
        Integer::new(value.clamp(Integer::MIN.get(), Integer::MAX.get())).unwrap_or(Integer::MAX)
    })
    .boxed()
}

/// A range with at least one member; either or both ends may be absent.
pub fn range() -> BoxedStrategy<Range> {
    (option::weighted(0.8, integer()), option::weighted(0.8, integer()))
        .prop_map(|(low, high)| match (low, high) {
            (Some(low), Some(high)) if low > high => (Some(high), Some(low)),
            ends => ends,
        })
        .prop_map(|(low, high)| Range::new(low, high).expect("a range"))
        .boxed()
}

/// The longest random text, in bytes. A longer one would take more time to compile, and show no more.
const LONG_TEXT_MAX: usize = 500;

/// A text that a rule may contain: no newline, no NUL, and no longer than a value may be. Long ones have few different bytes, so that
/// their automata stay small.
pub fn text() -> BoxedStrategy<ValueText> {
    let bytes = prop_oneof![
        32 => "[a-z0-9 ]{0,6}".prop_map(String::into_bytes),
        16 => integer().prop_map(|integer| integer.to_string().into_bytes()),
        8 => "[^\n\0]{0,12}".prop_map(String::into_bytes),
        3 => vec(any::<u8>(), 0..=limits::SHORT_VALUE_MAX + 1),
        1 => vec(select(b"ab1 ".to_vec()), limits::SHORT_VALUE_MAX - 1..=LONG_TEXT_MAX),
    ];
    bytes
        .prop_map(|mut bytes| {
            bytes.retain(|byte| !matches!(byte, b'\n' | 0));
            bytes.truncate(limits::VALUE_MAX);
            ValueText::new(bytes).expect("a text")
        })
        .boxed()
}

fn value(new: bool) -> BoxedStrategy<Value> {
    select(if new { vec![Value::New, Value::New, Value::Old] } else { vec![Value::Old] }).boxed()
}

fn operand(new: bool) -> BoxedStrategy<Operand> {
    let index = prop_oneof![4 => 0..3u8, 1 => 0..limits::ELEMENTS_MAX as u8];
    prop_oneof![
        4 => value(new).prop_map(Operand::only),
        3 => (value(new), index).prop_map(|(value, index)| Operand::element(value, index).expect("an element")),
        1 => value(new).prop_map(Operand::each),
        1 => value(new).prop_map(Operand::Count),
        1 => select(vec![Operand::Pos, Operand::Uid, Operand::Gid]),
    ]
    .prop_flat_map(|operand| match operand {
        Operand::Number(value, elements, _) => option::weighted(0.2, mask())
            .prop_map(move |mask| Operand::Number(value, elements, mask))
            .boxed(),
        other => Just(other).boxed(),
    })
    .boxed()
}

fn mask() -> BoxedStrategy<Mask> {
    let bits = prop_oneof![
        2 => 1..16u64,
        2 => (0..64u32).prop_map(|bit| 1 << bit),
        1 => 1..=u64::MAX,
    ];
    let mask = |bits: u64| Mask::new(Integer::new(bits.into()).expect("64 bits")).expect("a mask");
    bits.prop_map(mask).boxed()
}

fn relation() -> BoxedStrategy<Relation> {
    select(vec![
        Relation::Less,
        Relation::LessOrEqual,
        Relation::Equal,
        Relation::NotEqual,
        Relation::GreaterOrEqual,
        Relation::Greater,
    ])
    .boxed()
}

/// A comparison chain, in which no two literals are neighbours.
fn chain(new: bool) -> BoxedStrategy<Condition> {
    let term = move || prop_oneof![1 => integer().prop_map(Operand::Literal), 1 => operand(new)];
    (term(), vec((relation(), term(), operand(new)), 1..=3))
        .prop_map(|(first, rest)| {
            let mut before = first;
            let mut has_each = first.each_of().is_some();
            let mut links = Vec::new();
            for (relation, term, instead) in rest {
                let literals = matches!((before, term), (Operand::Literal(_), Operand::Literal(_)));
                before = if literals { instead } else { term };
                // A chain has only one `each`.
                before = match before.each_of() {
                    Some(value) if has_each => Operand::only(value),
                    each => {
                        has_each |= each.is_some();
                        before
                    }
                };
                links.push((relation, before));
            }
            Condition::chain(first, links).expect("a chain")
        })
        .boxed()
}

/// A range of ports.
fn port_range() -> BoxedStrategy<Range> {
    let port = || prop_oneof![1 => 0..=70u32, 2 => 0..=65_535u32];
    (port(), port())
        .prop_map(|(one, other)| {
            Range::new(Some(one.min(other).into()), Some(one.max(other).into())).expect("a range")
        })
        .boxed()
}

/// A member of a set.
fn member() -> BoxedStrategy<Range> {
    let bounded = range().prop_filter("a range without ends", |range| *range != Range::ALL);
    prop_oneof![1 => integer().prop_map(Range::only), 1 => bounded].boxed()
}

/// A test of lists, most often of a few numbers.
fn list_test() -> BoxedStrategy<ListTest> {
    let count = prop_oneof![4 => 1..=3usize, 1 => 1..=limits::ELEMENTS_MAX];
    let integers = count.clone().prop_flat_map(|count| vec(integer(), count));
    let ranges = count.prop_flat_map(|count| vec(prop_oneof![2 => range(), 1 => Just(Range::ALL)], count));
    prop_oneof![
        1 => integers.clone().prop_map(|numbers| ListTest::equals(numbers).expect("numbers")),
        1 => integers.prop_map(|numbers| ListTest::differs(numbers).expect("numbers")),
        2 => (ranges, integer()).prop_map(|(mut ranges, only)| {
            // At least one has an end.
            if ranges.iter().all(|range| *range == Range::ALL) {
                ranges[0] = Range::only(only);
            }
            ListTest::is_in(ranges).expect("ranges")
        }),
    ]
    .boxed()
}

fn comparison(new: bool) -> BoxedStrategy<Condition> {
    let text_operand = prop_oneof![
        3 => value(new).prop_map(TextOperand::Value),
        1 => Just(TextOperand::Comm),
    ];
    let one_of = |texts: Vec<ValueText>| TextTest::one_of(texts).expect("texts");
    let test = prop_oneof![
        2 => text().prop_map(TextTest::Equals),
        1 => text().prop_map(TextTest::Differs),
        1 => vec(text(), 1..4).prop_map(one_of),
        1 => vec(text(), 30..40).prop_map(one_of),
        2 => pattern::text_glob().prop_map(TextTest::Matches),
        1 => text().prop_map(TextTest::StartsWith),
        1 => text().prop_map(TextTest::Contains),
    ];
    let bounded = range().prop_filter("a range without ends", |range| *range != Range::ALL);
    let in_range = |(operand, range)| Condition::in_range(operand, range).expect("a range");
    let in_set = |(operand, set): (_, Vec<Integer>)| {
        let set: Vec<Range> = set.into_iter().map(Range::only).collect();
        Condition::in_set(operand, set).expect("a set")
    };
    let in_ranges = |(value, set): (_, Vec<Range>)| Condition::in_ranges(value, set).expect("ranges");
    let in_set_of_ranges = |(operand, set): (_, Vec<Range>)| Condition::in_set(operand, set).expect("a set");
    prop_oneof![
        4 => chain(new),
        2 => (operand(new), bounded).prop_map(in_range),
        2 => (operand(new), vec(integer(), 1..5)).prop_map(in_set),
        1 => (operand(new), vec(integer(), 15..40)).prop_map(in_set),
        1 => (operand(new), vec(member(), 1..5)).prop_map(in_set_of_ranges),
        1 => (operand(new), vec(member(), 15..40)).prop_map(in_set_of_ranges),
        2 => (value(new), list_test()).prop_map(|(value, test)| Condition::List(value, test)),
        2 => (value(new), vec(port_range(), 1..4)).prop_map(in_ranges),
        1 => (value(new), vec(member(), 1..4)).prop_map(in_ranges),
        3 => (text_operand, test).prop_map(|(operand, test)| Condition::Text(operand, test)),
    ]
    .boxed()
}

/// A valid condition; it looks at `new` only if asked to, and not at the network namespace of the knob.
pub fn condition(new: bool) -> BoxedStrategy<Condition> {
    combined(comparison(new))
}

/// The same, and it may look at the network namespace that owns the knob: for rules whose patterns are all
/// [below `net/`](pattern_below_net).
pub fn condition_on_netns(new: bool) -> BoxedStrategy<Condition> {
    let netns = select(&KnobNetns::ALL).prop_map(Condition::Netns);
    combined(prop_oneof![2 => netns, 3 => comparison(new)].boxed())
}

fn combined(comparison: BoxedStrategy<Condition>) -> BoxedStrategy<Condition> {
    comparison
        .prop_recursive(4, 12, 3, |inner| {
            prop_oneof![
                vec(inner.clone(), 2..4).prop_map(|parts| Condition::all(parts).expect("two parts")),
                vec(inner.clone(), 2..4).prop_map(|parts| Condition::any(parts).expect("two parts")),
                inner.prop_map(|condition| Condition::Not(Box::new(condition))),
            ]
        })
        .boxed()
}

fn test() -> BoxedStrategy<Test> {
    (any::<String>(), vec(step(), 0..3)).prop_map(|(name, steps)| Test { name, steps }).boxed()
}

fn step() -> BoxedStrategy<TestStep> {
    let expected = prop_oneof![
        Just(Expected::Allow),
        option::of(errno()).prop_map(Expected::Deny),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Expected::Set(bytes.into())),
    ];
    let access = pattern::knob_pattern().prop_flat_map(|pattern| access_to(pattern, Vec::new()));
    (access, expected)
        .prop_map(|(access, expected)| {
            let rewritten_read = access.kind() == AccessKind::Read && matches!(expected, Expected::Set(_));
            let expected = if rewritten_read { Expected::Allow } else { expected };
            TestStep::new(access, expected).expect("a step")
        })
        .boxed()
}
