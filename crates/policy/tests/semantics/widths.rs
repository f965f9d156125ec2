//! Numbers that a knob could store as other numbers.

use knobgate_policy::{Access, Errno, EvalError, Value, Verdict};

use super::{decide, knob, rewritten, verdict, write};

#[test]
fn a_new_number_that_the_knob_could_store_as_another_one_cannot_be_evaluated() {
    const BITS_32: (&str, &str) = ("-2147483648", "4294967295");
    const UNSIGNED_64: (&str, &str) = ("0", "18446744073709551615");
    const TICKS: (&str, &str) = ("0", "214748364");
    let next = |number: &str, off: i128| (number.parse::<i128>().unwrap() + off).to_string();
    for (knob_name, declared, (least, greatest)) in [
        ("net.ipv4.icmp_ratelimit", "", BITS_32),
        ("vendor.limit", "", BITS_32),
        ("vendor.limit", "width 64 vendor.*", ("-9223372036854775808", UNSIGNED_64.1)),
        ("vendor.limit", "width 64 other.*", BITS_32),
        ("kernel.shmmax", "", UNSIGNED_64),
        ("net.ipv4.neigh.eth0.locktime", "", TICKS),
        // The known width takes precedence over a declared one.
        ("net.ipv4.neigh.eth0.locktime", "width 64 **", TICKS),
        ("net.ipv6.neigh.eth0.retrans_time", "", BITS_32),
        ("sunrpc.nfs_debug", "", ("0", BITS_32.1)),
    ] {
        for rule in [
            "allow write ** if new >= 0 or new < 0",
            "allow write ** if not new == 7",
            "allow write ** if new[0] != 7",
            "allow write ** if count(new) == 1",
            "clamp write ** to ..",
            "clamp write ** to ..18446744073709551615",
        ] {
            let verdict = |number: &str| {
                let access = Access::write(knob(knob_name), format!("{number}\n"));
                verdict(&format!("{declared}\n{rule}"), &access)
            };
            for inside in [least, greatest, "0", "99999999"] {
                assert_eq!(
                    verdict(inside),
                    Ok(Verdict::Allow),
                    "{knob_name}, {declared}: {rule} of {inside}"
                );
            }
            for outside in [next(least, -1), next(greatest, 1)] {
                let denied = verdict(&outside);
                assert!(
                    matches!(denied, Err(EvalError::Width { .. } | EvalError::Overflow(Value::New))),
                    "{knob_name}, {declared}: {rule} of {outside} is {denied:?}"
                );
            }
        }
    }
}

#[test]
fn the_width_matters_only_for_numbers_of_the_new_value() {
    let large = write("4294967296\n", "18446744073692774399\n");
    for (rule, expected) in [
        ("allow write a.b", Some(Verdict::Allow)),
        ("allow write a.b if old > 4294967296", Some(Verdict::Allow)),
        ("allow write a.b if old[0] in 4294967296..", Some(Verdict::Allow)),
        ("allow write a.b if new == \"4294967296\"", Some(Verdict::Allow)),
        ("set write a.b to \"1\"", rewritten("1\n\n\n\n\n\n\n\n\n\n").ok()),
        // All numbers of a value, whichever the rule looks at.
        ("allow write a.b if new[0] > 0", None),
    ] {
        assert_eq!(verdict(rule, &large).ok(), expected, "{rule}");
    }
    let second = verdict("allow write a.b if new[0] == 1", &write("1 4294967296", "1 1\n"));
    assert!(matches!(second, Err(EvalError::Width { .. })), "{second:?}");

    // A ratchet on a knob of 64 bits.
    let ratchet = |new: &str| {
        let old = Some(b"18446744073692774399\n".to_vec());
        let access = Access { old, ..Access::write(knob("kernel.shmmax"), new) };
        decide("allow write kernel.shmmax if old <= new", &access).verdict
    };
    assert_eq!(ratchet("18446744073709551615"), Verdict::Allow);
    assert_eq!(ratchet("18446744073692774398"), Verdict::Deny(Errno::EPERM));
    assert_eq!(ratchet("-1"), Verdict::Deny(Errno::EINVAL));
}

#[test]
fn a_clamp_writes_no_number_that_the_knob_could_store_as_another_one() {
    let clamp = "clamp write kernel.panic, kernel.shmmax to 4294967296..";
    let small = |name| verdict(clamp, &Access::write(knob(name), "7         \n"));
    assert_eq!(small("kernel.shmmax"), rewritten("4294967296\n"));
    assert!(matches!(small("kernel.panic"), Err(EvalError::Width { .. })));
    let list = "clamp write kernel.panic to [.., 4294967296..]";
    let written = |value: &str| verdict(list, &Access::write(knob("kernel.panic"), value));
    assert!(matches!(written("1 2                \n"), Err(EvalError::Width { .. })));
}
