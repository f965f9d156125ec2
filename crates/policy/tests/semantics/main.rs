//! The meaning of policies, one statement per test.

mod netns;
mod numbers;
mod widths;

use knobgate_policy::{
    Access, AccessKind, CheckOptions, DecidedBy, Decision, Errno, EvalError, EventRate, KnobName,
    KnobPattern, Policy, Source, Task, Value, Verdict, evaluate, limits, parse,
};

fn policy(rules: &str) -> Policy {
    let text = format!("policy x\n{rules}\n");
    match parse(Source::new("x.knob", text.as_str()), &CheckOptions::default()) {
        Ok(file) => file.into_policy(),
        Err(errors) => panic!("{errors:#?}\n{text}"),
    }
}

fn knob(name: &str) -> KnobName {
    KnobName::parse(name).unwrap()
}

/// A write of `new` to a knob that holds `old`.
fn write(new: impl AsRef<[u8]>, old: impl AsRef<[u8]>) -> Access {
    Access { old: Some(old.as_ref().to_vec()), ..Access::write(knob("a.b"), new.as_ref()) }
}

fn decide(rules: &str, access: &Access) -> Decision {
    evaluate(&policy(rules), access)
}

/// Whether `condition` holds for `access`, or why it cannot be evaluated.
fn holds(condition: &str, access: &Access) -> Result<bool, EvalError> {
    let rules = format!("width 64 a.b\nallow write a.b if {condition}\ndeny(EROFS) write **");
    match decide(&rules, access) {
        Decision { verdict: Verdict::Allow, by: DecidedBy::Rule(0), .. } => Ok(true),
        Decision { verdict: Verdict::Deny(Errno::EROFS), by: DecidedBy::Rule(1), .. } => Ok(false),
        Decision {
            verdict: Verdict::Deny(Errno::EINVAL),
            by: DecidedBy::EvalError { rule: 0, error },
            log: true,
            ..
        } => Err(error),
        other => panic!("{condition}: {other:?}"),
    }
}

/// The verdict of a single rule for writes on `access`.
fn verdict(rule: &str, access: &Access) -> Result<Verdict, EvalError> {
    match decide(rule, access) {
        Decision {
            by: DecidedBy::EvalError { error, .. }, verdict: Verdict::Deny(Errno::EINVAL), ..
        } => Err(error),
        Decision { verdict, by: DecidedBy::Rule(0), .. } => Ok(verdict),
        other => panic!("{rule}: {other:?}"),
    }
}

fn rewritten(bytes: &str) -> Result<Verdict, EvalError> {
    Ok(Verdict::Rewrite(bytes.as_bytes().to_vec()))
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = "deny(EACCES) write a.b\nallow write a.*\nallow read write **";
    for (access, verdict, rule) in [
        (Access::write(knob("a.b"), "1"), Verdict::Deny(Errno::EACCES), 0),
        (Access::write(knob("a.c"), "1"), Verdict::Allow, 1),
        (Access::write(knob("a.b.c"), "1"), Verdict::Allow, 2),
        (Access::read(knob("a.b")), Verdict::Allow, 2),
    ] {
        let decision = decide(rules, &access);
        assert_eq!((decision.verdict, decision.by), (verdict, DecidedBy::Rule(rule)), "{access}");
    }
}

#[test]
fn without_a_matching_rule_the_default_decides() {
    let read = Access::read(knob("a.b"));
    let write = Access::write(knob("a.b"), "1");
    for (rules, access, verdict, log) in [
        ("", &read, Verdict::Allow, false),
        ("", &write, Verdict::Deny(Errno::EPERM), true),
        ("default read deny(ENOENT)", &read, Verdict::Deny(Errno::ENOENT), true),
        ("default read allow log", &read, Verdict::Allow, true),
        ("default write deny nolog", &write, Verdict::Deny(Errno::EPERM), false),
        ("default write allow\nallow write a.c", &write, Verdict::Allow, false),
    ] {
        let decision = decide(rules, access);
        let by = DecidedBy::Default(access.kind());
        assert_eq!(
            (decision.verdict, decision.by, decision.log),
            (verdict, by, log),
            "{rules:?} on {access}"
        );
    }
}

#[test]
fn denials_and_rewrites_are_logged_unless_the_rule_says_otherwise() {
    for (rule, log) in [
        ("allow write a.b", false),
        ("allow write a.b log", true),
        ("deny write a.b", true),
        ("deny write a.b nolog", false),
        ("set write a.b to \"2\"", true),
        ("set write a.b to \"2\" nolog", false),
        // What is written stays as it is: that is permission.
        ("set write a.b to \"1\"", false),
        ("set write a.b to \"1\" log", true),
        ("clamp write a.b to 2..3", true),
        ("clamp write a.b to 1..2", false),
        ("clamp write a.b to 1..2 log", true),
        ("ignore write a.b", false),
        ("ignore write a.b nolog", false),
        ("allow write a.b log(1/s)", true),
        ("allow write a.b log(all)", true),
    ] {
        assert_eq!(decide(rule, &write("1", "1")).log, log, "{rule}");
    }
}

#[test]
fn events_are_limited_to_what_the_rule_says() {
    for (log, limit) in [
        ("", Some(10)),
        ("log", Some(10)),
        ("log(10/s)", Some(10)),
        ("log(1_000_000/s)", Some(1_000_000)),
        ("log(all)", None),
        // For accesses for which the rule cannot be evaluated.
        ("nolog", Some(10)),
    ] {
        let policy = policy(&format!("deny write a.b {log}\ndefault read deny {log}"));
        let limit = limit.map(|limit| EventRate::per_second(limit).unwrap());
        assert_eq!(policy.rules()[0].event_limit(), limit, "{log}");
        assert_eq!(policy.defaults().read.event_limit(), limit, "{log}");
    }
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies_whatever_later_rules_say() {
    let decision = decide("allow write a.b if new == 1\nallow write **", &write("one", "1"));
    assert_eq!(decision.verdict, Verdict::Deny(Errno::EINVAL));
    assert_eq!(decision.by, DecidedBy::EvalError { rule: 0, error: EvalError::NotNumbers(Value::New) });
    assert!(decision.log, "an event says so");
    let decision = decide("allow write a.b if new == 1 nolog\nallow write **", &write("one", "1"));
    assert!(decision.log, "even where the rule says nolog");
}

#[test]
fn only_rules_that_are_reached_and_match_are_evaluated() {
    for rules in [
        "allow write a.b\ndeny write a.b if new == 1",
        "deny write a.c if new == 1\nallow write a.b",
        "deny read a.b if old == 1\nallow write a.b",
    ] {
        assert_eq!(decide(rules, &write("one", "one")).verdict, Verdict::Allow, "{rules}");
    }
}

#[test]
fn numbers_are_parsed_as_the_kernels_handlers_parse_them() {
    let long_zero = format!("{}1", "0".repeat(19));
    let too_long_zero = format!("{}1", "0".repeat(20));
    let not_numbers = Err(EvalError::NotNumbers(Value::New));
    let overflow = Err(EvalError::Overflow(Value::New));
    let count = |found| Err(EvalError::Count { value: Value::New, found, expected: 1 });
    for (new, expected) in [
        ("16", Ok(true)),
        ("16\n", Ok(true)),
        (" 16", Ok(true)),
        ("\t16 \t\n", Ok(true)),
        ("0x10", Ok(true)),
        ("0X10\n", Ok(true)),
        ("020", Ok(true)),
        ("16\n\n \t\n", Ok(true)),
        ("15", Ok(false)),
        ("-16", Ok(false)),
        ("-0", Ok(false)),
        ("0", Ok(false)),
        (&long_zero, Ok(false)),
        (&too_long_zero, not_numbers),
        ("18446744073709551615", Ok(false)),
        ("18446744073709551616", overflow),
        ("-9223372036854775808", Ok(false)),
        ("-9223372036854775809", overflow),
        ("0xffffffffffffffff", Ok(false)),
        ("", Err(EvalError::NoNew)),
        (" ", count(0)),
        ("\n", count(0)),
        ("16 17", count(2)),
        ("16 16", count(2)),
        ("+16", not_numbers),
        ("- 16", not_numbers),
        ("--16", not_numbers),
        ("16,", not_numbers),
        ("16k", not_numbers),
        ("0x", not_numbers),
        ("0xg", not_numbers),
        ("08", not_numbers),
        ("1 2 x", not_numbers),
        ("\u{b}16", not_numbers),
        ("16\r\n", not_numbers),
        ("16\0", not_numbers),
        ("16\n\0", not_numbers),
        ("16\x0017", Err(EvalError::GoesOn(Value::New))),
        ("\n16", Err(EvalError::GoesOn(Value::New))),
        ("16\n17", Err(EvalError::GoesOn(Value::New))),
        ("16\n\r", Err(EvalError::GoesOn(Value::New))),
        ("1 2 3 4 5 6 7 8", count(8)),
        ("1 2 3 4 5 6 7 8 9", not_numbers),
    ] {
        assert_eq!(holds("new == 16", &write(new, "0\n")), expected, "{new:?}");
        // A number in the current value is parsed the same way.
        let expected = expected.map_err(|why| match why {
            EvalError::NoNew => EvalError::NoOld,
            EvalError::NotNumbers(_) => EvalError::NotNumbers(Value::Old),
            EvalError::Overflow(_) => EvalError::Overflow(Value::Old),
            EvalError::GoesOn(_) => EvalError::GoesOn(Value::Old),
            EvalError::Count { found, expected, .. } => {
                EvalError::Count { value: Value::Old, found, expected }
            }
            other => other,
        });
        assert_eq!(holds("old == 16", &write("0\n", new)), expected, "{new:?} as the current value");
    }
}

#[test]
fn a_value_has_limits() {
    let padded = |length: usize| format!("{:<length$}", "16");
    let numbers_end = |end: usize| format!("{}16", " ".repeat(end - 2));
    for (new, expected) in [
        (padded(limits::VALUE_MAX), Ok(true)),
        (padded(limits::VALUE_MAX + 1), Err(EvalError::TooLong(Value::New))),
        (numbers_end(limits::NUMBERS_END_MAX), Ok(true)),
        (numbers_end(limits::NUMBERS_END_MAX + 1), Err(EvalError::NumbersTooLong(Value::New))),
    ] {
        assert_eq!(holds("new == 16", &write(&new, "0")), expected, "{new:?}");
    }
    let text = "x".repeat(limits::VALUE_MAX + 1);
    assert_eq!(holds("new != \"a\"", &write(&text, "0")), Err(EvalError::TooLong(Value::New)));
    assert_eq!(holds("old != \"a\"", &write("0", &text)), Err(EvalError::TooLong(Value::Old)));

    // Where programs cannot loop over a value.
    let [fits, long] = [0, 1].map(|more| write("x".repeat(limits::SHORT_VALUE_MAX + more), "0"));
    assert_eq!(holds("new != \"a\"", &fits.seen_up_to(limits::SHORT_VALUE_MAX)), Ok(true));
    assert_eq!(
        holds("new != \"a\"", &long.seen_up_to(limits::SHORT_VALUE_MAX)),
        Err(EvalError::TooLong(Value::New))
    );
    assert_eq!(
        holds("old != \"a\"", &long.seen_up_to(limits::SHORT_VALUE_MAX)),
        holds("old != \"a\"", &long)
    );
    assert_eq!(holds("new != \"a\"", &long), Ok(true));
}

#[test]
fn integers_compare_over_the_range_of_signed_and_unsigned_handlers() {
    for (condition, new, expected) in [
        ("new > 9223372036854775807", "18446744073709551615", true),
        ("new > 0", "-1", false),
        ("new < 18446744073709551615", "-9223372036854775808", true),
        ("new == -1", "18446744073709551615", false),
        ("new == 0xffffffffffffffff", "18446744073709551615", true),
        ("new == 0", "-0", true),
    ] {
        assert_eq!(holds(condition, &write(new, "0")), Ok(expected), "{condition} for {new}");
    }
}

#[test]
fn comparison_chains_are_those_of_mathematics() {
    for (condition, expected) in [
        ("new < 6", true),
        ("new < 5", false),
        ("new <= 5", true),
        ("new == 5", true),
        ("new != 5", false),
        ("new >= 6", false),
        ("new > 4", true),
        ("1 <= new <= old <= 10", true),
        ("1 <= old <= new <= 10", false),
        ("10 >= old > new > 1", true),
        ("1 < new == 5 < old", true),
        ("old <= new", false),
        ("new in 1..5", true),
        ("new in 6..", false),
        ("new in ..5", true),
        ("new in {1, 5}", true),
        ("new in {1, 2}", false),
        ("count(new) == 1", true),
        ("new[0] == 5 and old[0] == 7", true),
    ] {
        assert_eq!(holds(condition, &write("5", "7\n")), Ok(expected), "{condition}");
    }
}

#[test]
fn elements_count_from_zero_and_a_missing_one_cannot_be_evaluated() {
    let vector = write("4096\t87380 6291456\n", "1 2 3");
    for (condition, expected) in [
        ("4096 <= new[0] <= new[1] <= new[2] <= 6_291_456", Ok(true)),
        ("new[2] < new[1]", Ok(false)),
        ("count(new) == 3 and count(old) == 3", Ok(true)),
        ("new[3] == 1", Err(EvalError::NoElement { value: Value::New, found: 3, index: 3 })),
        ("old[7] == 1", Err(EvalError::NoElement { value: Value::Old, found: 3, index: 7 })),
        ("new == 4096", Err(EvalError::Count { value: Value::New, found: 3, expected: 1 })),
        ("count(new) > 3 and new[3] == 1", Ok(false)),
    ] {
        assert_eq!(holds(condition, &vector), expected, "{condition}");
    }
}

#[test]
fn conditions_short_circuit_from_left_to_right() {
    let access = write("one", "5");
    let not_evaluated = Err(EvalError::NotNumbers(Value::New));
    for (condition, expected) in [
        ("old == 4 and new == 1", Ok(false)),
        ("old == 5 or new == 1", Ok(true)),
        ("new == 1 and old == 4", not_evaluated),
        ("new == 1 or old == 5", not_evaluated),
        ("old == 5 and new == 1", not_evaluated),
        ("old < 3 < new", Ok(false)),
        ("new < 3 < old", not_evaluated),
        ("not (old == 5 or new == 1)", Ok(false)),
        ("not new == 1", not_evaluated),
        ("new == \"one\" or new == 1", Ok(true)),
        ("old == 1 and old == 2 or old == 5", Ok(true)),
        ("old == 5 or old == 1 and old == 2", Ok(true)),
        ("(old == 5 or old == 1) and old == 2", Ok(false)),
        ("not old == 1 and old == 5", Ok(true)),
    ] {
        assert_eq!(holds(condition, &access), expected, "{condition}");
    }
}

#[test]
fn the_text_of_a_value_ends_before_its_first_newline_or_nul() {
    for (new, condition, expected) in [
        ("core", "new == \"core\"", Ok(true)),
        ("core\n", "new == \"core\"", Ok(true)),
        ("core\n\n\t \n", "new == \"core\"", Ok(true)),
        ("core\0", "new == \"core\"", Ok(true)),
        ("core\0\0 \t\n\0", "new == \"core\"", Ok(true)),
        ("core\n\0", "new == \"core\"", Ok(true)),
        ("\0", "new == \"\"", Ok(true)),
        // proc_do_large_bitmap would continue.
        ("1-5\x006000-7000", "new == \"1-5\"", Err(EvalError::GoesOn(Value::New))),
        ("core\0\ndump", "new == \"core\"", Err(EvalError::GoesOn(Value::New))),
        ("core\n\0dump", "new == \"core\"", Err(EvalError::GoesOn(Value::New))),
        ("\0core", "new == \"\"", Err(EvalError::GoesOn(Value::New))),
        ("core\ndump", "new == \"core\"", Err(EvalError::GoesOn(Value::New))),
        ("core dump\0", "new == \"core dump\"", Ok(true)),
        ("5\0", "new == \"5\"", Ok(true)),
        ("5 4\n\0", "new == \"5 4\"", Ok(true)),
        ("5 4\0", "new == \"5 4\"", Err(EvalError::NulAfterList(Value::New))),
        ("\u{b}-5 x\0\n", "new != \"y\"", Err(EvalError::NulAfterList(Value::New))),
        ("core\n\r", "new == \"core\"", Err(EvalError::GoesOn(Value::New))),
        ("core ", "new == \"core\"", Ok(false)),
        (" core", "new == \"core\"", Ok(false)),
        ("core\n", "new != \"core\"", Ok(false)),
        ("core\n", "new in {\"a\", \"core\"}", Ok(true)),
        ("core\n", "new in {\"a\", \"b\"}", Ok(false)),
        ("|/bin/sh\n", "new starts with \"|\"", Ok(true)),
        ("/bin/sh|\n", "new starts with \"|\"", Ok(false)),
        ("a/b\n", "new contains \"/\"", Ok(true)),
        ("ab\n", "new contains \"/\"", Ok(false)),
        ("ab\n", "new contains \"\"", Ok(true)),
        ("a/b c.log\n", "new matches \"a*.log\"", Ok(true)),
        ("a/b c.log\n", "new matches \"a**.log\"", Ok(true)),
        ("a.txt\n", "new matches \"*.log\"", Ok(false)),
        ("abc", "new matches \"[a-c]?{b,c}\"", Ok(true)),
        ("", "new == \"\"", Err(EvalError::NoNew)),
    ] {
        assert_eq!(holds(condition, &write(new, "x\n")), expected, "{condition} for {new:?}");
    }
    assert_eq!(holds("old == \"a\"", &write("1", "")), Err(EvalError::NoOld));
    assert_eq!(holds("old == \"a\"", &Access::write(knob("a.b"), "1")), Err(EvalError::NoOld));
}

#[test]
fn conditions_look_at_the_ids_and_the_name_of_the_task() {
    let task = Task::default().uid(1000).gid(u32::MAX).comm("sysctl");
    let access = Access { task, ..write("1", "1") };
    for (condition, expected) in [
        ("uid == 1000", true),
        ("uid == 0", false),
        ("gid == 4294967295", true),
        ("gid == -1", false),
        ("comm == \"sysctl\"", true),
        ("comm matches \"sys*\"", true),
        ("comm != \"sysctl\"", false),
        ("comm starts with \"x\"", false),
    ] {
        assert_eq!(holds(condition, &access), Ok(expected), "{condition}");
    }
}

#[test]
fn the_position_is_the_low_32_bits_that_the_hook_shows() {
    let at = |pos| Access { pos, ..write("5", "7") };
    for (pos, shown) in [(0, 0), (1, 1), (1 << 32, 0), ((1 << 32) + 1, 1), (u64::MAX, u64::from(u32::MAX))] {
        assert_eq!(holds(&format!("pos == {shown}"), &at(pos)), Ok(true), "{pos}");
        let new = if shown == 0 { Ok(true) } else { Err(EvalError::Position) };
        assert_eq!(holds("new == 5", &at(pos)), new, "new at {pos}");
        assert_eq!(holds("new == \"5\"", &at(pos)), new, "the text of new at {pos}");
        assert_eq!(holds("old == 7", &at(pos)), Ok(true), "old at {pos}");
        let set = if shown == 0 { rewritten("1") } else { Err(EvalError::Position) };
        for rule in ["set write a.b to \"1\"", "clamp write a.b to ..1"] {
            assert_eq!(verdict(rule, &at(pos)), set, "{rule} at {pos}");
        }
        assert_eq!(verdict("allow write a.b", &at(pos)), Ok(Verdict::Allow), "{pos}");
    }
}

#[test]
fn a_ratchet_goes_one_way() {
    let ratchet = "old <= new <= 1_048_576";
    for (new, old, expected) in [
        ("70000", "65530\n", true),
        ("65530", "65530\n", true),
        ("65529", "65530\n", false),
        ("1048577", "65530\n", false),
    ] {
        assert_eq!(holds(ratchet, &write(new, old)), Ok(expected), "{old:?} to {new:?}");
    }
    assert_eq!(holds(ratchet, &Access::write(knob("a.b"), "1")), Err(EvalError::NoOld));
}

#[test]
fn a_replacement_is_padded_to_the_callers_length() {
    let does_not_fit = |needed, room| Err(EvalError::DoesNotFit { needed, room });
    for (text, new, expected) in [
        ("10", "60\n", rewritten("10\n")),
        ("10", "60", rewritten("10")),
        ("10", "99999\n\n", rewritten("10\n\n\n\n\n")),
        ("10", "10\n", Ok(Verdict::Allow)),
        ("10", "10", Ok(Verdict::Allow)),
        ("10", "10 ", rewritten("10\n")),
        ("10", "\0\0\0", rewritten("10\n")),
        ("10", "one\ntwo", rewritten("10\n\n\n\n\n")),
        ("10", "6", does_not_fit(2, 1)),
        ("", "6", rewritten("\n")),
        ("10", "", Err(EvalError::NoNew)),
    ] {
        assert_eq!(
            verdict(&format!("set write a.b to \"{text}\""), &write(new, "1\n")),
            expected,
            "{text:?} over {new:?}"
        );
    }
}

#[test]
fn a_write_too_long_to_be_rewritten_is_denied() {
    let rule = "set write a.b to \"10\"";
    let longest = "9".repeat(limits::REPLACED_MAX);
    assert!(
        matches!(verdict(rule, &write(&longest, "1")), Ok(Verdict::Rewrite(bytes)) if bytes.len() == limits::REPLACED_MAX)
    );
    assert_eq!(verdict(rule, &write(longest.clone() + "9", "1")), Err(EvalError::TooLongToReplace));
    assert_eq!(verdict(rule, &write(longest + "99", "1")), Err(EvalError::TooLong(Value::New)));
}

#[test]
fn a_clamp_moves_each_number_into_its_range() {
    let count = |found, expected| Err(EvalError::Count { value: Value::New, found, expected });
    for (ranges, new, expected) in [
        ("128..65535", "9999999\n", rewritten("65535\n\n\n")),
        ("128..65535", "4096\n", Ok(Verdict::Allow)),
        ("128..65535", "0x1000\n", Ok(Verdict::Allow)),
        ("128..65535", "128", Ok(Verdict::Allow)),
        ("128..65535", "127\n", rewritten("128\n")),
        ("128..65535", "1\n", Err(EvalError::DoesNotFit { needed: 3, room: 2 })),
        ("..10", "0x000b\n", rewritten("10\n\n\n\n\n")),
        ("-5..", "-100", rewritten("-5\n\n")),
        ("[1..2, 3..4, ..5]", "9 9 9", rewritten("2 4 5")),
        ("[1..2, 3..4, ..5]", " 9\t9\t9\n", rewritten("2 4 5\n\n")),
        ("[1..2, 3..4, ..5]", "1 3 5\n", Ok(Verdict::Allow)),
        ("[1..2, 3..4, ..5]", "1 3\n", count(2, 3)),
        ("[1..2, 3..4, ..5]", "1 3 5 7\n", count(4, 3)),
        ("[.., 5..5]", "7 7", rewritten("7 5")),
        ("1..2", "x", Err(EvalError::NotNumbers(Value::New))),
        ("1..2", "", Err(EvalError::NoNew)),
    ] {
        assert_eq!(
            verdict(&format!("clamp write a.b to {ranges}"), &write(new, "1\n")),
            expected,
            "{ranges} over {new:?}"
        );
    }
}

#[test]
fn an_ignored_write_writes_the_current_value() {
    for (new, old, expected) in [
        ("9 9 9 9\n", "4\t4\t1\t7\n", rewritten("4\t4\t1\t7\n")),
        ("0\n", "7\n", rewritten("7\n")),
        ("000\n", "7\n", rewritten("7\n\n\n")),
        ("7\n", "7\n", Ok(Verdict::Allow)),
        ("7", "7\n", Ok(Verdict::Allow)),
        ("0", "10\n", Err(EvalError::DoesNotFit { needed: 2, room: 1 })),
        ("0", "", Err(EvalError::NoOld)),
        ("", "1", Err(EvalError::NoNew)),
        ("abc", "a\nb", Err(EvalError::GoesOn(Value::Old))),
    ] {
        assert_eq!(verdict("ignore write a.b", &write(new, old)), expected, "{new:?} over {old:?}");
    }
}

#[test]
fn a_write_of_no_bytes_has_no_new_value_but_is_a_write() {
    let nothing = write("", "1");
    assert_eq!(nothing.kind(), AccessKind::Write);
    assert_eq!(verdict("allow write a.b", &nothing), Ok(Verdict::Allow));
    assert_eq!(holds("new == 1", &nothing), Err(EvalError::NoNew));
    assert_eq!(holds("count(new) == 0", &nothing), Err(EvalError::NoNew));
}

#[test]
fn a_read_has_no_new_value() {
    let read = Access { old: Some(b"1\n".to_vec()), ..Access::read(knob("a.b")) };
    let decision = decide("allow read write a.b if new == 1", &read);
    assert_eq!(decision.by, DecidedBy::EvalError { rule: 0, error: EvalError::NoNew });
}

#[test]
fn a_name_too_long_to_look_at_is_denied_by_the_first_rule_that_could_match_it() {
    let long = |length: usize| {
        Access::write(KnobName::from_path("a/".to_owned() + &"b".repeat(length - 4) + "/c").unwrap(), "1")
    };
    let too_long = long(limits::NAME_MAX + 1);
    let not_evaluated = |rule| DecidedBy::EvalError { rule, error: EvalError::NameTooLong };
    let default = DecidedBy::Default(AccessKind::Write);
    for (rules, by) in [
        ("allow write **\ndeny write c", DecidedBy::Rule(0)),
        ("deny read c\nallow write **", DecidedBy::Rule(1)),
        ("allow write b, **", DecidedBy::Rule(0)),
        ("deny write a.c\nallow write **", not_evaluated(0)),
        ("allow write a.**", not_evaluated(0)),
        ("allow write a.?", not_evaluated(0)),
        ("allow write {a.b,a.c}", not_evaluated(0)),
        // By the last component.
        ("deny write b\nallow write **", DecidedBy::Rule(1)),
        ("allow write a.b, **.d", default),
        ("allow write a.{b,d}\nallow write a.d, a.{c,d}", not_evaluated(1)),
        ("allow write **.b\nallow write **", DecidedBy::Rule(1)),
    ] {
        assert_eq!(decide(rules, &too_long).by, by, "{rules}");
    }
    assert_eq!(decide("allow write a.**", &long(limits::NAME_MAX)).verdict, Verdict::Allow);
}

#[test]
fn a_pattern_has_last_components_within_limits() {
    let last = |pattern: &str| {
        let found = KnobPattern::parse(pattern).unwrap().last_components()?;
        Some(found.into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>().join(" "))
    };
    let longest = "x".repeat(limits::LAST_COMPONENT_MAX);
    for (pattern, expected) in [
        ("a", Some("a")),
        ("net.ipv4.tcp_mem", Some("tcp_mem")),
        ("net.*.conf.**.mtu", Some("mtu")),
        ("net.{a,b.c}.mtu", Some("mtu")),
        ("net.x{1,2}{,y}", Some("x1 x1y x2 x2y")),
        ("{a,b}", Some("a b")),
        ("{a,b.c}", None),
        ("**mtu", None),
        ("**", None),
        ("net.mt[u]", None),
        ("net.{a,b?}", None),
        ("net.{a,b}{c,d}{e,f}{g,h}{i,j}{k,l}{m,n}", None),
        (&longest, Some(longest.as_str())),
        (&format!("{longest}x"), None),
    ] {
        assert_eq!(last(pattern).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn the_mode_does_not_change_the_decision() {
    let access = write("1", "1");
    assert_eq!(decide("mode audit\ndeny write a.b", &access), decide("deny write a.b", &access));
}
