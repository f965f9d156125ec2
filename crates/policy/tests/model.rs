//! The constructors of the model reject what the language does not have. What they accept can be printed and parsed again.

use knobgate_policy::{
    Access, Action, CheckOptions, Condition, ElementIndex, Elements, Errno, EventRate, Expected, Integer,
    Kinds, KnobName, KnobNetns, List, ListTest, Logging, Mask, NotationErrorKind, Operand, Policy,
    PolicyError, PolicyFile, Range, Relation, Rule, Source, Task, Test, TestStep, TextGlob, TextOperand,
    TextTest, Value, ValueText, WrongLength, limits, parse, print,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const NEW: Operand = Operand::only(Value::New);
const EACH: Operand = Operand::each(Value::New);
const ONE: Operand = Operand::Literal(Integer::MAX);

fn not_nested(times: usize) -> Condition {
    let uid = Condition::in_set(Operand::Uid, [Range::only(0.into())]).unwrap();
    (0..times).fold(uid, |inner, _| Condition::Not(Box::new(inner)))
}

fn range(low: i128, high: i128) -> Result<Range, PolicyError> {
    Range::new(Integer::new(low), Integer::new(high))
}

fn rule(kinds: Kinds, condition: Condition) -> Result<Rule, PolicyError> {
    Rule::new(Action::Allow, kinds, ["vm.*"])?.with_condition(condition)
}

fn step(access: Access, expected: Expected) -> Result<TestStep, PolicyError> {
    TestStep::new(access, expected)
}

fn of_task(comm: &str) -> Access {
    let knob = KnobName::parse("vm.a").unwrap();
    Access { task: Task::default().comm(comm), ..Access::read(knob) }
}

#[test]
fn constructors_reject_what_the_language_does_not_have() {
    let long = "x".repeat(limits::VALUE_MAX + 1);
    let is_new = Condition::in_set(NEW, [Range::only(1.into())]).unwrap();
    let sysctl = |name| Access::read(KnobName::parse(name).unwrap());
    let longest = "x".repeat(limits::VALUE_MAX);
    let set = Expected::Set("1".into());
    for (what, error, expected) in [
        ("no name", Policy::new("").err(), PolicyError::BadName),
        ("two words", Policy::new("a b").err(), PolicyError::BadName),
        ("a line", Policy::new("a\n").err(), PolicyError::BadName),
        ("a long name", Policy::new("x".repeat(limits::POLICY_NAME_MAX + 1)).err(), PolicyError::NameTooLong),
        ("no patterns", Rule::new::<&str>(Action::Allow, Kinds::Read, []).err(), PolicyError::NoPatterns),
        (
            "a set read",
            Rule::new(Action::set("1").unwrap(), Kinds::Read, ["vm.a"]).err(),
            PolicyError::RewrittenRead,
        ),
        ("both ignored", Rule::new(Action::Ignore, Kinds::Both, ["vm.a"]).err(), PolicyError::RewrittenRead),
        ("new of a read", rule(Kinds::Read, is_new.clone()).err(), PolicyError::NewOfRead),
        ("new inside", rule(Kinds::Read, Condition::Not(Box::new(is_new))).err(), PolicyError::NewOfRead),
        (
            "33 deep",
            rule(Kinds::Read, not_nested(limits::NESTING_MAX + 1)).err(),
            PolicyError::ConditionTooDeep,
        ),
        ("no parts", Condition::all([]).err(), PolicyError::TooFewConditions),
        ("one part", Condition::any([not_nested(0)]).err(), PolicyError::TooFewConditions),
        ("no links", Condition::chain(NEW, []).err(), PolicyError::NoLinks),
        ("two literals", Condition::chain(ONE, [(Relation::Less, ONE)]).err(), PolicyError::OnlyLiterals),
        (
            "two literals at the end",
            Condition::chain(NEW, [(Relation::Less, ONE), (Relation::Less, ONE)]).err(),
            PolicyError::OnlyLiterals,
        ),
        (
            "a literal in a range",
            Condition::in_range(ONE, range(1, 2).unwrap()).err(),
            PolicyError::OnlyLiterals,
        ),
        ("no ends", Condition::in_range(NEW, Range::ALL).err(), PolicyError::EndlessRange),
        (
            "a literal in a set",
            Condition::in_set(ONE, [Range::only(1.into())]).err(),
            PolicyError::OnlyLiterals,
        ),
        ("no members", Condition::in_set(NEW, []).err(), PolicyError::EmptySet),
        ("a member without ends", Condition::in_set(NEW, [Range::ALL]).err(), PolicyError::EndlessRange),
        ("no numbers", ListTest::equals([]).err(), PolicyError::ListLength { found: 0 }),
        ("nine numbers", ListTest::differs([0.into(); 9]).err(), PolicyError::ListLength { found: 9 }),
        ("only dots", ListTest::is_in([Range::ALL; 2]).err(), PolicyError::EndlessRange),
        (
            "two of each",
            Condition::chain(EACH, [(Relation::Less, ONE), (Relation::Less, EACH)]).err(),
            PolicyError::EachTwice,
        ),
        ("no bits", Mask::new(0.into()).err(), PolicyError::BadMask { mask: 0.into() }),
        ("a negative mask", Mask::new(Integer::MIN).err(), PolicyError::BadMask { mask: Integer::MIN }),
        ("no texts", TextTest::one_of([]).err(), PolicyError::EmptySet),
        ("the ninth", Operand::element(Value::New, 8).err(), PolicyError::NoElement { index: 8 }),
        ("one before", ElementIndex::new(-1).err(), PolicyError::NoElement { index: -1 }),
        ("the 257th", ElementIndex::new(256).err(), PolicyError::NoElement { index: 256 }),
        ("reversed", range(2, 1).err(), PolicyError::EmptyRange),
        ("no ranges", Action::clamp([]).err(), PolicyError::NoRanges),
        (
            "nine ranges",
            Action::clamp([Range::ALL; limits::ELEMENTS_MAX + 1]).err(),
            PolicyError::TooManyRanges,
        ),
        (
            "a long text",
            ValueText::new(long.as_str()).err(),
            PolicyError::TextTooLong { length: limits::VALUE_MAX + 1 },
        ),
        (
            "a long set",
            Action::set(longest).err(),
            PolicyError::ReplacementTooLong { length: limits::VALUE_MAX },
        ),
        ("two lines", ValueText::new("a\nb").err(), PolicyError::NotOneLine),
        ("a NUL", ValueText::new("a\0").err(), PolicyError::NotOneLine),
        ("set to two lines", Action::set("a\nb").err(), PolicyError::ReplacementNotOneLine { byte: b'\n' }),
        ("a set read in a test", step(sysctl("vm.a"), set).err(), PolicyError::ReadExpectedToChange),
        (
            "the netns of another knob",
            rule(Kinds::Read, Condition::Not(Box::new(Condition::Netns(KnobNetns::Host)))).err(),
            PolicyError::NetnsOutsideNet,
        ),
        (
            "the netns of another knob in a test",
            step(sysctl("vm.a").knob_netns(KnobNetns::Host), Expected::Allow).err(),
            PolicyError::NetnsOutsideNet,
        ),
        ("a long comm", step(of_task("0123456789abcdef"), Expected::Allow).err(), PolicyError::BadComm),
        ("a comm with a NUL", step(of_task("a\0"), Expected::Allow).err(), PolicyError::BadComm),
    ] {
        assert_eq!(error, Some(expected), "{what}");
    }
    let no_sysctl = Rule::new(Action::Allow, Kinds::Read, ["vm.a", "fs.binfmt_misc.*"]);
    assert!(matches!(no_sysctl, Err(PolicyError::NotASysctl(_))));
    assert!(matches!(
        step(sysctl("fs.binfmt_misc.status"), Expected::Allow),
        Err(PolicyError::NotASysctl(_))
    ));
    assert!(matches!(
        Rule::new(Action::Allow, Kinds::Read, ["vm..a"]),
        Err(PolicyError::Pattern(error)) if error.kind == NotationErrorKind::EmptyComponent
    ));
    for glob in ["a\n*", "{a,b\0}"] {
        assert_eq!(TextGlob::parse(glob).unwrap_err().kind, NotationErrorKind::NotOneLine);
    }
}

#[test]
fn values_at_a_limit_are_accepted() {
    assert!(Policy::new("x".repeat(limits::POLICY_NAME_MAX)).is_ok());
    assert!(rule(Kinds::Read, not_nested(limits::NESTING_MAX)).is_ok());
    assert!(Operand::element(Value::Old, 7).is_ok());
    assert!(range(1, 1).is_ok());
    assert!(Action::clamp([Range::ALL; limits::ELEMENTS_MAX]).is_ok());
    assert!(ValueText::new("x".repeat(limits::VALUE_MAX)).is_ok());
    assert!(step(of_task("0123456789abcde"), Expected::Deny(Some(Errno::EPERM))).is_ok());
}

#[test]
fn a_list_keeps_its_length() {
    type Pairs = List<u8, 1, 2>;
    assert_eq!(Pairs::new([]), Err(WrongLength { min: 1, max: 2, found: 0 }));
    assert_eq!(Pairs::new([1, 2, 3]), Err(WrongLength { min: 1, max: 2, found: 3 }));
    let mut pair = Pairs::new([1, 2]).unwrap();
    pair[0] = 7;
    assert_eq!(pair[..], [7, 2]);
}

#[test]
fn an_error_says_what_to_do() {
    let error = Rule::new(Action::Allow, Kinds::Read, ["a..b"]).unwrap_err();
    assert_eq!(error.to_string(), "there is nothing between two separators (at byte 1)");
    let error = Condition::in_range(NEW, Range::ALL).unwrap_err();
    assert_eq!(error.help().as_deref(), Some("give at least one of its ends"));
}

/// Bytes. Few of them are valid texts.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a-z0-9\\[{,}*\\\\\" \u{e9}]{0,8}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..12),
        1 => vec(Just(b'a'), limits::VALUE_MAX - 1..=limits::VALUE_MAX + 1),
    ]
}

fn integer() -> impl Strategy<Value = Integer> {
    (-3..10i128).prop_map(|value| Integer::new(value).unwrap())
}

fn ends() -> impl Strategy<Value = Result<Range, PolicyError>> {
    (option::weighted(0.8, integer()), option::weighted(0.8, integer()))
        .prop_map(|(low, high)| Range::new(low, high))
}

fn value() -> impl Strategy<Value = Value> {
    select(vec![Value::New, Value::Old])
}

fn operand() -> impl Strategy<Value = Result<Operand, PolicyError>> {
    prop_oneof![
        integer().prop_map(|integer| Ok(Operand::Literal(integer))),
        value().prop_map(|value| Ok(Operand::only(value))),
        value().prop_map(|value| Ok(Operand::Count(value))),
        (value(), -1..12i128).prop_map(|(value, index)| Operand::element(value, index)),
        value().prop_map(|value| Ok(Operand::each(value))),
        (value(), integer())
            .prop_map(|(value, mask)| { Ok(Operand::Number(value, Elements::Only, Some(Mask::new(mask)?))) }),
        select(vec![Operand::Pos, Operand::Uid, Operand::Gid]).prop_map(Ok),
    ]
}

fn text_test() -> impl Strategy<Value = Result<TextTest, PolicyError>> {
    let text = || bytes().prop_map(ValueText::new);
    prop_oneof![
        text().prop_map(|text| text.map(TextTest::Equals)),
        text().prop_map(|text| text.map(TextTest::Differs)),
        text().prop_map(|text| text.map(TextTest::StartsWith)),
        text().prop_map(|text| text.map(TextTest::Contains)),
        bytes().prop_map(|glob| Ok(TextTest::Matches(TextGlob::parse(glob)?))),
        vec(text(), 0..3)
            .prop_map(|texts| TextTest::one_of(texts.into_iter().collect::<Result<Vec<_>, _>>()?)),
    ]
}

fn condition() -> impl Strategy<Value = Result<Condition, PolicyError>> {
    let relation = select(vec![Relation::Less, Relation::NotEqual, Relation::GreaterOrEqual]);
    let subject = prop_oneof![value().prop_map(TextOperand::Value), Just(TextOperand::Comm)];
    let leaf = prop_oneof![
        (operand(), vec((relation, operand()), 0..3)).prop_map(|(first, links)| {
            let links = links.into_iter().map(|(relation, operand)| Ok((relation, operand?)));
            Condition::chain(first?, links.collect::<Result<Vec<_>, PolicyError>>()?)
        }),
        (operand(), ends()).prop_map(|(operand, range)| Condition::in_range(operand?, range?)),
        (operand(), vec(ends(), 0..3)).prop_map(|(operand, members)| {
            Condition::in_set(operand?, members.into_iter().collect::<Result<Vec<_>, _>>()?)
        }),
        (value(), vec(integer(), 0..10), any::<bool>()).prop_map(|(value, numbers, equal)| {
            let test = if equal { ListTest::equals(numbers) } else { ListTest::differs(numbers) };
            Ok(Condition::List(value, test?))
        }),
        (value(), vec(ends(), 0..10)).prop_map(|(value, ranges)| {
            let ranges: Vec<Range> = ranges.into_iter().collect::<Result<_, _>>()?;
            Ok(Condition::List(value, ListTest::is_in(ranges)?))
        }),
        (subject, text_test()).prop_map(|(subject, test)| Ok(Condition::Text(subject, test?))),
        select(&KnobNetns::ALL).prop_map(|netns| Ok(Condition::Netns(netns))),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let parts = || {
            vec(inner.clone(), 1..3)
                .prop_map(|parts| parts.into_iter().collect::<Result<Vec<_>, PolicyError>>())
        };
        prop_oneof![
            parts().prop_map(|parts| Condition::all(parts?)),
            parts().prop_map(|parts| Condition::any(parts?)),
            (inner.clone(), prop_oneof![9 => 1..3usize, 1 => 30..36usize]).prop_map(|(inner, times)| {
                Ok((0..times).fold(inner?, |inner, _| Condition::Not(Box::new(inner))))
            }),
        ]
    })
}

fn any_rule() -> impl Strategy<Value = Result<Rule, PolicyError>> {
    let action = prop_oneof![
        3 => Just(Ok(Action::Allow)),
        1 => select(Errno::ALL).prop_map(|errno| Ok(Action::Deny(errno))),
        1 => Just(Ok(Action::Ignore)),
        1 => bytes().prop_map(Action::set),
        1 => vec(ends(), 0..10)
            .prop_map(|ranges| Action::clamp(ranges.into_iter().collect::<Result<Vec<_>, _>>()?)),
    ];
    let kinds = select(vec![Kinds::Read, Kinds::Write, Kinds::Write, Kinds::Both]);
    let patterns = vec(select(vec!["vm.a", "net.**", "policy", "a..b", "fs.binfmt_misc.x", "{a,b}.c"]), 0..3);
    (action, kinds, patterns, option::of(condition()), option::of(logging())).prop_map(
        |(action, kinds, patterns, condition, log)| {
            let rule = Rule::new(action?, kinds, patterns)?.with_condition(condition.transpose()?)?;
            Ok(rule.with_log(log.transpose()?))
        },
    )
}

fn logging() -> impl Strategy<Value = Result<Logging, PolicyError>> {
    prop_oneof![
        Just(Ok(Logging::Never)),
        Just(Ok(Logging::All)),
        (-1..12i128).prop_map(|events| EventRate::per_second(events).map(Logging::Limited)),
    ]
}

fn any_test() -> impl Strategy<Value = Result<Test, PolicyError>> {
    let access = (
        select(vec!["vm.a", "net.a", "fs.binfmt_misc.x"]),
        option::of(bytes()),
        option::of(bytes()),
        any::<u64>(),
    );
    let netns = option::weighted(0.3, select(&KnobNetns::ALL));
    let expected = prop_oneof![
        Just(Expected::Allow),
        option::of(select(Errno::ALL)).prop_map(Expected::Deny),
        bytes().prop_map(|bytes| Expected::Set(bytes.as_slice().into())),
    ];
    (any::<String>(), (access, netns), bytes(), expected).prop_map(
        |(name, ((knob, new, old, pos), knob_netns), comm, expected)| {
            let task = Task::default().uid(1).gid(2).comm(comm);
            let access = Access { knob: KnobName::parse(knob).unwrap(), new, old, pos, knob_netns, task };
            Ok(Test { name, steps: vec![TestStep::new(access, expected)?] })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_the_constructors_accept_can_be_printed_and_parsed(rule in any_rule(), test in any_test()) {
        let mut policy = Policy::new("x").unwrap();
        if let Ok(rule) = rule {
            policy = policy.with_rules([rule]);
        }
        if let Ok(test) = test {
            policy = policy.with_tests([test]);
        }
        let text = print(&policy);
        let again = parse(Source::new("x", text.as_str()), &CheckOptions::default()).map(PolicyFile::into_policy);
        prop_assert_eq!(again.as_ref(), Ok(&policy), "{}", text);
    }
}
