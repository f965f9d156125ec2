//! Lists, ranges in sets, each number, and masks.

use knobgate_policy::{EvalError, Value};

use crate::{holds, write};

/// Whether each condition holds for a write of `new` to a knob that holds `old`.
fn table(new: &str, old: &str, conditions: &[(&str, Result<bool, EvalError>)]) {
    for (condition, expected) in conditions {
        assert_eq!(holds(condition, &write(new, old)), *expected, "{condition} for {new:?}, {old:?}");
    }
}

#[test]
fn a_list_has_as_many_numbers_as_the_value() {
    let count = |found, expected| Err(EvalError::Count { value: Value::New, found, expected });
    table(
        "250\t0x7d00 100 128\n",
        "32 1",
        &[
            ("new == [250, 32000, 100, 128]", Ok(true)),
            ("new == [250, 32000, 100, 129]", Ok(false)),
            ("new != [250, 32000, 100, 128]", Ok(false)),
            ("new != [0, 32000, 100, 128]", Ok(true)),
            ("new in [1.., .., 99..101, ..128]", Ok(true)),
            ("new in [1.., .., 99..101, ..127]", Ok(false)),
            ("new in [250, .., .., ..]", Ok(true)),
            ("not new in [.., .., .., 0]", Ok(true)),
            ("new == [250, 32000, 100]", count(4, 3)),
            ("new != [250]", count(4, 1)),
            ("new in [.., .., .., .., 1]", count(4, 5)),
            // Guarded, it is only false.
            ("count(new) == 3 and new == [250, 32000, 100]", Ok(false)),
            ("old == [32, 1]", Ok(true)),
            ("old in [.., ..0]", Ok(false)),
            ("old != [32]", Err(EvalError::Count { value: Value::Old, found: 2, expected: 1 })),
        ],
    );
    table(" \n", "x", &[("new == [0]", count(0, 1)), ("old == [0]", Err(EvalError::NotNumbers(Value::Old)))]);
    table("7", "7", &[("new == [7]", Ok(true)), ("new != [7]", Ok(false))]);
}

#[test]
fn a_set_has_ranges() {
    for (new, expected) in [
        ("-1", false),
        ("0", true),
        ("1", false),
        ("1023", false),
        ("1024", true),
        ("4096", true),
        ("4097", false),
        ("8192", true),
        ("-9223372036854775808", true),
        ("-100", true),
        ("-99", false),
        ("18446744073709551615", true),
        ("18446744073709551614", false),
    ] {
        let set = "{0, 1024..4096, 8192, ..-100, 18446744073709551615..}";
        table(
            new,
            "",
            &[(&format!("new in {set}"), Ok(expected)), (&format!("not new in {set}"), Ok(!expected))],
        );
    }
    table("5", "7", &[("new in {1..3, 5..6}", Ok(true)), ("old in {1..3, 5..6}", Ok(false))]);
    // Together they contain everything.
    table("5", "", &[("new in {..4, 5..}", Ok(true))]);
    table(
        "5 6",
        "",
        &[("new in {..4, 5..}", Err(EvalError::Count { value: Value::New, found: 2, expected: 1 }))],
    );
}

#[test]
fn each_number_is_compared_and_there_has_to_be_one() {
    table(
        "1 2 3 4 5 6 7 8",
        " ",
        &[
            ("each(new) in 1..8", Ok(true)),
            ("each(new) in 1..7", Ok(false)),
            ("each(new) != 9", Ok(true)),
            ("each(new) != 8", Ok(false)),
            ("each(new) in {1..3, 4, 5..9}", Ok(true)),
            ("0 < each(new) <= new[7]", Ok(true)),
            ("each(new) <= new[6]", Ok(false)),
            // Not all, which is not the same as none.
            ("not each(new) in 1..7", Ok(true)),
            ("not each(new) == 1", Ok(true)),
            // There is no number.
            ("each(old) in 0..9", Ok(false)),
            ("not each(old) in 0..9", Ok(true)),
            ("each(old) == new", Ok(false)),
        ],
    );
    table(
        "9 1",
        "1",
        &[
            // The first number decides.
            ("each(new) == old[3]", Err(EvalError::NoElement { value: Value::Old, found: 1, index: 3 })),
            ("1 == each(new) == old[3]", Ok(false)),
            ("each(new) in 9.. and each(new) == old[3]", Ok(false)),
        ],
    );
    table(
        "a",
        "1 2 3 4 5 6 7 8 9",
        &[
            ("each(new) == 1", Err(EvalError::NotNumbers(Value::New))),
            ("each(old) == 1", Err(EvalError::NotNumbers(Value::Old))),
        ],
    );
}

#[test]
fn a_mask_keeps_some_bits() {
    let negative = Err(EvalError::NegativeMasked(Value::New));
    for (new, expected) in
        [("0", true), ("1", true), ("0xe0f", true), ("0x10", false), ("0x1f0", false), ("0x200", true)]
    {
        table(new, "", &[("new & 0x1f0 == 0", Ok(expected)), ("0 != new & 0x1f0", Ok(!expected))]);
    }
    table(
        "7",
        "0x30 5",
        &[
            ("new & 6 == 6", Ok(true)),
            ("new & 0x8000000000000000 == 0", Ok(true)),
            ("new & 5 in {5, 8..9}", Ok(true)),
            ("1 < new & 3 < 4", Ok(true)),
            ("old[0] & 0x10 == 16", Ok(true)),
            ("old[1] & 0x10 != 0", Ok(false)),
            ("each(old) & 0x20 == 0", Ok(false)),
            ("each(old) & 0xc0 == 0", Ok(true)),
            // It binds tighter than `and`.
            ("new & 1 == 1 and new & 8 == 0", Ok(true)),
        ],
    );
    table("18446744073709551615", "", &[("new & 0x8000000000000000 != 0", Ok(true))]);
    table(
        "-1",
        "",
        &[("new & 1 == 1", negative), ("new & 1 in 0..1", negative), ("each(new) & 1 == 0", negative)],
    );
    table("2 -1", "", &[("each(new) & 1 == 0", negative), ("each(new) & 1 == 1", Ok(false))]);
    // What enables everything, and what enables only these.
    for (new, expected) in [("1", false), ("0", true), ("176", false), ("4", true)] {
        table(new, "", &[("new != 1 and new & 0x1f0 == 0", Ok(expected))]);
    }
}

#[test]
fn a_set_of_numbers_is_inside_ranges() {
    let not_ranges = Err(EvalError::NotRanges(Value::New));
    for (new, expected) in [
        ("30000", Ok(true)),
        ("30000-32767,8080\n", Ok(true)),
        ("8080,", Ok(true)),
        ("0x7530,076543\n", Ok(true)),
        ("29999", Ok(false)),
        ("30000-32768", Ok(false)),
        // Both ends are inside, and what is between them is not.
        ("8080-30000", Ok(false)),
        ("99999999999999999999999999", Ok(false)),
        ("\n", Ok(false)),
        ("8080 ", not_ranges),
        ("8080,,8080", not_ranges),
        (",8080", not_ranges),
        ("8080-", not_ranges),
        ("-8080", not_ranges),
        ("08080", not_ranges),
        ("+8080", not_ranges),
        ("8080\0", not_ranges),
        ("8080\n8080", Err(EvalError::GoesOn(Value::New))),
    ] {
        table(new, "", &[("ranges(new) in {8080, 30000..32767}", expected)]);
    }
    table(
        "5-7,9",
        "1-3\n",
        &[
            ("ranges(new) in 5..9", Ok(true)),
            // What adjoins is one range.
            ("ranges(new) in {5..6, 7..9}", Ok(true)),
            ("ranges(new) in {5..6, 8..9}", Ok(false)),
            ("not ranges(new) in 5..8", Ok(true)),
            ("ranges(new) in 1..", Ok(true)),
            ("ranges(old) in ..3", Ok(true)),
        ],
    );
}
