//! Random selectors.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use knobgate_policy::Text;
use knobgate_policy::selector::{Engine, FieldTest, Predicate, Selector, SelectorCondition, SelectorField};

use crate::pattern::text_glob;

/// A valid selector.
pub fn selector() -> BoxedStrategy<Selector> {
    test()
        .prop_map(SelectorCondition::Test)
        .prop_recursive(4, 12, 3, |inner| {
            prop_oneof![
                vec(inner.clone(), 2..4).prop_map(|parts| SelectorCondition::all(parts).expect("two parts")),
                vec(inner.clone(), 2..4).prop_map(|parts| SelectorCondition::any(parts).expect("two parts")),
                inner.prop_map(|condition| SelectorCondition::Not(Box::new(condition))),
            ]
        })
        .prop_map(|condition| Selector::new(condition).expect("it is not deep"))
        .boxed()
}

fn test() -> BoxedStrategy<FieldTest> {
    let engine = || select(Engine::ALL).prop_map(|engine| Text::from(engine.name()));
    let path = || "(/[a-c][a-z0-9.@-]{0,5}){1,4}".prop_map(|path| Text::from(path.as_str()));
    let image = || {
        let short = "([a-c]{1,3}/)?[a-z][a-z0-9]{0,4}(:[0-9]{1,2}\\.[0-9a-z]{1,2})?";
        prop_oneof![short, "registry\\.example/[a-z]{1,3}/[a-z]{1,3}:[a-z0-9]{1,3}"]
            .prop_map(|image| Text::from(image.as_str()))
    };
    let unit = "[a-c]{1,3}(@[a-c])?\\.(service|scope)".prop_map(|unit| Text::from(unit.as_str()));
    let registry = "([a-c]{1,3}\\.example|localhost)/[a-z/:]{0,6}x";
    let starts_with = |start: String| Predicate::StartsWith(start.as_str().into());
    let path_glob = "(/([a-c*?]{1,3}|\\*\\*|\\{a,b\\}|[a-c]\\[0-9x\\])){1,3}";
    let matches_path = |glob: String| Predicate::MatchesPath(glob.parse().expect("a glob"));
    let any_glob = text_glob().prop_map(Predicate::Matches);
    let name = select(vec![
        SelectorField::Container,
        SelectorField::Pod,
        SelectorField::Namespace,
        SelectorField::Label("app".into()),
    ]);
    let label = text().prop_map(SelectorField::Label);
    let of = |field: SelectorField| {
        move |predicate| FieldTest::new(field.clone(), predicate).expect("a test of this field")
    };
    prop_oneof![
        2 => whole(engine()).prop_map(of(SelectorField::Engine)),
        2 => whole(path()).prop_map(of(SelectorField::Cgroup)),
        1 => path_glob.prop_map(matches_path).prop_map(of(SelectorField::Cgroup)),
        1 => whole(unit).prop_map(of(SelectorField::Unit)),
        2 => whole(image()).prop_map(of(SelectorField::Image)),
        1 => registry.prop_map(starts_with).prop_map(of(SelectorField::Image)),
        4 => (prop_oneof![4 => name, 1 => label], prop_oneof![3 => whole(text()), 1 => part(), 1 => any_glob])
            .prop_map(|(field, predicate)| FieldTest::new(field, predicate).expect("a test of this field")),
    ]
    .boxed()
}

/// A test of a whole text.
fn whole(text: impl Strategy<Value = Text> + Clone + 'static) -> BoxedStrategy<Predicate> {
    let one_of = |texts: Vec<Text>| Predicate::one_of(texts).expect("texts");
    prop_oneof![
        2 => text.clone().prop_map(Predicate::Equals),
        1 => text.clone().prop_map(Predicate::Differs),
        1 => vec(text, 1..4).prop_map(one_of),
    ]
    .boxed()
}

/// A test of a part of a text.
fn part() -> BoxedStrategy<Predicate> {
    prop_oneof![text().prop_map(Predicate::StartsWith), text().prop_map(Predicate::Contains)].boxed()
}

fn text() -> BoxedStrategy<Text> {
    prop_oneof![
        4 => "[a-z0-9-]{0,6}".prop_map(|text| Text::from(text.as_str())),
        1 => vec(any::<u8>(), 0..12).prop_map(Text::from),
    ]
    .boxed()
}
