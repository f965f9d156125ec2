//! The language parses values like the kernel's handlers: a write that `new == X` allows has the same effect as writing X,
//! or none. Random values in unusual notations, on every kind of handler.

use std::cell::Cell;

use knobgate_hook::handler::{
    Bitmap, Bool, CpuMask, Handler, HandlerEnv, Hz, IntVec, Text, U8, Uint, UlongVec, Unit, Written,
};
use knobgate_hook::{Profile, VALUE_BYTES, WritesStrict};
use knobgate_policy::{
    Access, CheckOptions, Errno, Integer, KnobName, Policy, Source, Verdict, evaluate, parse,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// A new handler of each kind, with a value. Handlers without numbers come last.
fn handlers() -> Vec<(&'static str, Box<dyn Handler>)> {
    let mut bitmap = Bitmap::new(65536);
    give(&mut bitmap, b"7,9-11");
    vec![
        ("int", Box::new(IntVec::new([77]))),
        ("int within bounds", Box::new(IntVec::new([77]).between(-100, 100_000))),
        ("three ints", Box::new(IntVec::new([77, 78, 79]))),
        ("seconds", Box::new(IntVec::new([77_000]).in_unit(Unit::Seconds(Hz::H250)))),
        ("milliseconds", Box::new(IntVec::new([77]).in_unit(Unit::Milliseconds(Hz::H250)))),
        ("user ticks", Box::new(IntVec::new([77]).in_unit(Unit::UserTicks(Hz::H1000)))),
        ("bool", Box::new(Bool { value: true })),
        ("bool that is off", Box::new(Bool { value: false })),
        ("uint", Box::new(Uint::new(77))),
        ("u8", Box::new(U8::new(77))),
        ("ulong", Box::new(UlongVec::new([77]))),
        ("three ulongs", Box::new(UlongVec::new([77, 78, 79]))),
        ("bitmap", Box::new(bitmap)),
        ("text", Box::new(Text::new("before", 200))),
        ("short text", Box::new(Text::new("b", 4))),
        ("cpu mask", Box::new(CpuMask::new(40))),
    ]
}

/// The number of handlers, and of handlers with numbers.
const HANDLERS: usize = 16;
const OF_NUMBERS: usize = 13;

fn give(handler: &mut dyn Handler, value: &[u8]) {
    let env = HandlerEnv { strict: WritesStrict::Strict, profile: &Profile::default() };
    handler.write(Written::terminated(value), &mut 0, &env).expect("a value");
}

/// The value of the knob after a write, which may have failed.
fn after(index: usize, bytes: &[u8], mut position: i64, strict: WritesStrict, profile: &Profile) -> Vec<u8> {
    let env = HandlerEnv { strict, profile };
    let (_, mut handler) = handlers().swap_remove(index);
    let _ = handler.write(Written::terminated(bytes), &mut position, &env);
    handler.read(VALUE_BYTES, &mut 0, &env).expect("readable")
}

/// A policy that only allows writes under `condition`.
fn policy(condition: &str) -> Policy {
    let text = format!("policy p\ndefault write deny\nallow write a.b if {condition}\n");
    let parsed = parse(Source::new("p.knob", text.as_str()), &CheckOptions::default());
    parsed.unwrap_or_else(|errors| panic!("{errors:#?}\n{text}")).into_policy()
}

/// `new == X` for a number, a list of numbers or a text.
#[derive(Debug, Clone)]
struct Equal {
    policy: Policy,
    /// X, as `echo` would write it.
    stated: Vec<u8>,
    /// Whether it compares numbers.
    numbers: bool,
}

fn equal() -> impl Strategy<Value = Equal> {
    let equal = |condition: String, stated: String, numbers| Equal {
        policy: policy(&condition),
        stated: format!("{stated}\n").into_bytes(),
        numbers,
    };
    let small = prop_oneof![
        4 => -3..300i128,
        1 => select(vec![255, 256, 65535, 65536, i128::from(i32::MAX), i128::from(u32::MAX), i128::from(i64::MAX)]),
        1 => knobgate_arbitrary::integer().prop_map(Integer::get),
    ];
    let number =
        small.clone().prop_map(move |number| equal(format!("new == {number}"), number.to_string(), true));
    let numbers = proptest::collection::vec(small, 1..=4).prop_map(move |numbers| {
        let elements = numbers.iter().enumerate().map(|(index, number)| format!("new[{index}] == {number}"));
        let count = format!("count(new) == {}", numbers.len());
        let condition: Vec<String> = elements.chain([count]).collect();
        let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        equal(condition.join(" and "), text.join(" "), true)
    });
    let text = "[0-9a-f,x -]{0,7}|[0-9]{1,3}-[0-9]{1,5}(,[0-9]{1,4})?|[a-z|/]{1,12}"
        .prop_map(move |text| equal(format!("new == \"{text}\""), text, false));
    prop_oneof![3 => number, 2 => numbers, 3 => text]
}

/// Something like X: with other bytes in or around it, or a neighbour in an unusual notation.
fn near(policy: &Policy, stated: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let unusual = select(vec![
        &b" "[..],
        b"\t",
        b"\n",
        b"\0",
        b"\n\n",
        b" \n",
        b"\n ",
        b"\0\n",
        b"\n\0",
        b"\0\0",
        b"\r",
        b"\x0b",
        b"\xa0",
        b"-",
        b"+",
        b"0",
        b"0x",
        b"00",
        b",",
        b"1",
        b" 1",
        b"\n1",
        b"\x001",
        b"\n\n\n\n\n\n\n",
    ]);
    let renotated = renotated(stated);
    let stated = stated.to_vec();
    let inserted = proptest::collection::vec((any::<Index>(), unusual), 0..4).prop_map(move |insertions| {
        let mut bytes = stated.clone();
        for (place, unusual) in insertions {
            let at = place.index(bytes.len() + 1);
            bytes.splice(at..at, unusual.iter().copied());
        }
        bytes
    });
    let drawn = knobgate_arbitrary::access(policy).prop_map(|access| access.new.unwrap_or_default());
    prop_oneof![2 => inserted, 2 => renotated, 1 => drawn]
}

/// The same numbers or text, with other white space.
fn renotated(stated: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let words: Vec<String> =
        String::from_utf8_lossy(stated).split_ascii_whitespace().map(str::to_owned).collect();
    let notated = |word: &String, form: u8| match (word.parse::<i64>(), form) {
        (Ok(number), 0) if number < 0 => format!("-{:#x}", number.unsigned_abs()),
        (Ok(number), 0) => format!("{number:#x}"),
        (Ok(number), 1) if number >= 0 => format!("0{number:o}"),
        _ => word.clone(),
    };
    let blank = || select(vec!["", "", " ", "\t", "  "]);
    let end = select(vec!["", "\n", "\n\n", " \n", "\0", "\n\0", "\n ", "\x0b"]);
    (0..4u8, blank(), blank(), end).prop_map(move |(form, start, after, end)| {
        let words: Vec<String> = words.iter().map(|word| notated(word, form)).collect();
        format!("{start}{}{after}{end}", words.join(" ")).into_bytes()
    })
}

/// A write, for `equal` to check.
#[derive(Debug, Clone)]
struct Try {
    equal: Equal,
    bytes: Vec<u8>,
    handler: Index,
    position: i64,
    strict: WritesStrict,
    profile: &'static str,
}

fn tries() -> impl Strategy<Value = Try> {
    use WritesStrict::{Legacy, Strict, Warn};
    let near = equal().prop_flat_map(|equal| (near(&equal.policy, &equal.stated), Just(equal)));
    let position = prop_oneof![4 => Just(0), 1 => select(vec![1i64, 3, 1 << 32, (1 << 32) + 1, 5 << 32])];
    let strict = select(vec![Strict, Strict, Warn, Legacy]);
    (near, any::<Index>(), position, strict, select(vec!["5.15", "6.18"])).prop_map(
        |((bytes, equal), handler, position, strict, profile)| Try {
            equal,
            bytes,
            handler,
            position,
            strict,
            profile,
        },
    )
}

#[test]
fn a_value_that_equals_x_has_the_effect_of_x_or_none() {
    const TRIES: u32 = 20_000;
    let (allowed, otherwise) = (Cell::new(0), Cell::new(0));
    let name = KnobName::parse("a.b").expect("a name");
    let hold = |Try { equal, bytes, handler, position, strict, profile }: Try| {
        let profile: Profile = profile.parse().expect("a profile");
        let access = Access { pos: position as u64, ..Access::write(name.clone(), bytes.as_slice()) };
        if evaluate(&equal.policy, &access).verdict != Verdict::Allow {
            return Ok(());
        }
        let handler = handler.index(if equal.numbers { OF_NUMBERS } else { HANDLERS });
        let kind = handlers()[handler].0;
        let before = after(handler, b"", 0, strict, &profile);
        let wanted = after(handler, &equal.stated, 0, strict, &profile);
        let found = after(handler, &bytes, position, strict, &profile);
        // A bitmap is added to at any other position than 0, of which programs see the low half alone.
        let added = kind == "bitmap" && position != 0;
        prop_assert!(
            found == wanted || found == before || added,
            "{kind}: \"{}\" makes \"{}\" of \"{}\", where \"{}\" makes \"{}\"",
            bytes.escape_ascii(),
            found.escape_ascii(),
            before.escape_ascii(),
            equal.stated.escape_ascii(),
            wanted.escape_ascii(),
        );
        allowed.set(allowed.get() + 1);
        otherwise
            .set(otherwise.get() + u32::from(bytes != equal.stated && found == wanted && found != before));
        Ok(())
    };
    let config = Config { cases: TRIES, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&tries(), hold);
    result.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{} writes allowed, {} of them took effect in another notation", allowed.get(), otherwise.get());
    assert!(otherwise.get() > TRIES / 20, "the writes are too similar to show anything");
}

#[test]
fn a_nul_after_a_list_would_cost_it_its_last_number() {
    const THREE_INTS: usize = 2;
    let made = after(THREE_INTS, b"5 4\0", 0, WritesStrict::Strict, &Profile::default());
    assert_eq!((handlers()[THREE_INTS].0, made.as_slice()), ("three ints", &b"5\t78\t79\n"[..]));
    let access = Access::write(KnobName::parse("a.b").expect("a name"), "5 4\0");
    assert_eq!(evaluate(&policy("new == \"5 4\""), &access).verdict, Verdict::Deny(Errno::EINVAL));
}
