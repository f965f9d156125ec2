//! Policies that are learnt from random accesses.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Knobs of different widths and with different normalisations, and names that need escapes.
const KNOBS: [&str; 16] = [
    "net/core/somaxconn",
    "net/ipv4/tcp_rmem",
    "net/ipv4/icmp_ratelimit",
    "net/ipv4/ip_local_reserved_ports",
    "net/core/rps_sock_flow_entries",
    "net/core/flow_limit_cpu_bitmap",
    "kernel/shmmax",
    "kernel/domainname",
    "vm/lowmem_reserve_ratio",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/neigh/eth0/locktime",
    "net/ipv4/neigh/**/locktime",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/eth0/rp_filter",
    "net/ipv4/conf/a.1/rp_filter",
    "net/ipv6/conf/{a,*}/mtu",
];

fn value() -> impl Strategy<Value = String> {
    let number =
        prop_oneof![(-3i128..12).prop_map(|n| n.to_string()), any::<i64>().prop_map(|n| n.to_string())];
    let list = vec(number.clone(), 1..4).prop_map(|numbers| numbers.join(" "));
    let text = "[a-c ,\"\\\\#é-]{0,6}";
    (prop_oneof![3 => number, 2 => list, 1 => text.prop_map(|text| text)], any::<bool>())
        .prop_map(|(value, newline)| if newline { value + "\n" } else { value })
}

proptest! {
    #[test]
    fn a_learnt_policy_allows_what_was_seen_and_is_sound(
        seen in vec((select(&KNOBS[..]), value()), 1..40),
        slack in prop_oneof![Just(0u32), 1..50u32],
    ) {
        let accesses: Vec<_> = seen.iter().map(|(knob, new)| write(knob, new)).collect();
        let learnt = learn(&recording(&accesses), &LearnOptions { slack, ..OPTIONS }).expect("a policy");
        assert_sound(&learnt.file);
        let policy = learnt.file.policy();
        let text = learnt.file.source().text();
        for (knob, new) in &seen {
            let access = Access::write(KnobName::from_path(*knob).unwrap(), new.as_str());
            // No rule looks at an empty write.
            if !new.is_empty() {
                prop_assert_eq!(evaluate(policy, &access).verdict, Verdict::Allow, "{}\n{}", access, text);
            }
        }
        let other = Access::write(KnobName::parse("net.ipv4.ip_forward").unwrap(), "1\n");
        prop_assert_ne!(evaluate(policy, &other).verdict, Verdict::Allow);
    }

    /// Without slack, and with no more values of a knob than are listed, nothing else is allowed.
    #[test]
    fn a_learnt_policy_denies_everything_else(
        seen in vec((select(&KNOBS[..6]), select(&["1", "2", "5", "9", "x", "y z", "12\n"][..])), 1..20),
        other in select(&["0", "3", "6", "8", "10", "11", "13", "x1", "y", "1 2", ""][..]),
        knob in select(&KNOBS[..]),
    ) {
        let accesses: Vec<_> = seen.iter().map(|(knob, new)| write(knob, new)).collect();
        let learnt = learnt(&accesses);
        let access = Access::write(KnobName::from_path(knob).unwrap(), other);
        prop_assert_ne!(
            evaluate(learnt.file.policy(), &access).verdict,
            Verdict::Allow,
            "{}\n{}", access, learnt.file.source().text()
        );
    }

    #[test]
    fn an_extended_policy_allows_what_was_seen(
        before in vec((select(&KNOBS[..]), value()), 0..20),
        seen in vec((select(&KNOBS[..]), value()), 1..20),
    ) {
        let accesses = |seen: &[(&str, String)]| seen.iter().map(|(knob, new)| write(knob, new)).collect::<Vec<_>>();
        let first = learnt(&accesses(&before));
        let extended = extend(&first.file, &accesses(&seen));
        assert_eq!(format(extended.file.source()).unwrap(), extended.file.source().text());
        let leaves_out = extended.file.source().text().contains("\n# not allowed");
        for (knob, new) in before.iter().chain(&seen).filter(|(_, new)| !new.is_empty()) {
            let access = Access::write(KnobName::from_path(*knob).unwrap(), new.as_str());
            let is_allowed = evaluate(extended.file.policy(), &access).verdict == Verdict::Allow;
            prop_assert!(is_allowed || leaves_out, "{}\n{}", access, extended.file.source().text());
        }
    }
}
