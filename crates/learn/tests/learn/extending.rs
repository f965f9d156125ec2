//! What is learnt in addition to a policy.

use super::*;

#[test]
fn a_policy_is_extended_where_it_does_not_decide() {
    let text = "# Mine\npolicy web\n\nallow write vm.swappiness if new == 10  # ten\ndeny write kernel.*\n\n# the end\ntest \"mine\" {\n  write vm.swappiness \"10\\n\" => allow\n}\n";
    let file = policy(text);
    let seen = [
        write("vm/swappiness", "10\n"),
        write("vm/swappiness", "20\n"),
        write("kernel/domainname", "x\n"),
        write("net/core/somaxconn", "5\n"),
    ];
    let extended = extend(&file, &seen);
    assert_sound(&extended.file);
    assert_eq!(
        extended.file.source().text(),
        "\
# Mine
policy web

allow write vm.swappiness if new == 10  # ten
deny write kernel.*

# seen 1×, by sysctl
# not allowed, because the rule `deny write kernel.*` decides otherwise
# allow write kernel.domainname if new == \"x\"

# seen 1×, by sysctl
allow write net.core.somaxconn if new == 5

# seen 1×, by sysctl
# take care: no namespace has its own: it is the whole machine's
allow write vm.swappiness if new == 20

# the end
test \"mine\" {
  write vm.swappiness \"10\\n\" => allow
}

test \"what was seen\" {
  write net.core.somaxconn \"5\\n\" => allow
  write net.core.somaxconn \"6\\n\" => deny
  write vm.swappiness \"20\\n\" => allow
  write vm.swappiness \"21\\n\" => deny
}
"
    );
    let again = extend(&extended.file, &seen[..2]);
    assert_eq!((again.rules, again.file.source().text()), (0, extended.file.source().text()));
}

#[test]
fn an_extended_policy_applies_to_what_it_applied_to() {
    let text = "policy web\napply if namespace == \"prod\"\n\nallow write vm.swappiness if new == 10\napply if\tengine == crio  # too\n";
    let extended = extend(&policy(text), &[write("net/core/somaxconn", "5\n")]);
    assert_sound(&extended.file);
    assert_eq!(extended.file.policy().apply_if(), policy(text).policy().apply_if());
    let text = extended.file.source().text();
    assert!(
        text.contains("apply if namespace == \"prod\"\n")
            && text.contains("apply if engine == crio  # too\n"),
        "{text}"
    );
}

#[test]
fn what_a_policy_allows_of_an_access_counts_with_all_that_is_known_of_it() {
    let ttl = || write("net/ipv4/ip_default_ttl", "64\n");
    let forward = || write("net/ipv4/ip_forward", "1\n");
    let somaxconn = |old, new| with_old(old, write("net/core/somaxconn", new));
    let only_root = "allow write net.ipv4.ip_default_ttl if uid == 0";
    let only_bash = "allow write net.ipv4.ip_forward if comm == \"bash\"";
    let only_more = "allow write net.core.somaxconn if old <= new";
    for (rule, access, is_added) in [
        (only_root, as_user(0, ttl()), false),
        (only_root, as_user(65534, ttl()), true),
        (only_bash, by(b"bash", forward()), false),
        (only_bash, by(b"sh", forward()), true),
        (only_more, somaxconn("10\n", "20\n"), false),
        (only_more, somaxconn("20\n", "10\n"), true),
        // What may not have succeeded is allowed all the same.
        (only_root, with_result(CallResult::Unknown(UnknownResult::NotTraced), ttl()), false),
    ] {
        let file = policy(&format!("policy web\n\n{rule}\n"));
        let extended = extend(&file, std::slice::from_ref(&access));
        assert_sound(&extended.file);
        let text = extended.file.source().text();
        assert_eq!(extended.rules, usize::from(is_added), "{access:?}\n{text}");
        assert_eq!(text == file.source().text(), !is_added, "{access:?}\n{text}");
        assert_eq!(extended.notes, [""; 0]);
    }
}

#[test]
fn a_comment_says_on_what_the_verdict_of_a_policy_depends() {
    let file = policy("policy web\n\nallow write net.ipv4.tcp_sack if comm == \"sh\" or uid == 1\n");
    let mut access = write("net/ipv4/tcp_sack", "1\n");
    (access.event.comm, access.event.uid) = (None, None);
    let extended = extend(&file, &[access]);
    assert_sound(&extended.file);
    assert_eq!(
        extended.file.source().text(),
        "policy web

allow write net.ipv4.tcp_sack if comm == \"sh\" or uid == 1

# seen 1×
# not allowed, because what the policy decides depends on what was not recorded: the user id, the name of the task
# allow write net.ipv4.tcp_sack if new == 1
"
    );
}

#[test]
fn a_rule_for_others_stays_and_the_test_does_not_contradict_it() {
    let file = policy("policy web\n\ndeny write vm.swappiness if uid == 0\n");
    let extended = extend(&file, &[as_user(5, write("vm/swappiness", "10\n"))]);
    assert_sound(&extended.file);
    assert_eq!(extended.rules, 1);
}

#[test]
fn only_what_is_not_allowed_is_counted() {
    let file = policy("policy web\n\nallow write net.ipv4.ip_forward if new == 1\n");
    let mut recording = Recording::extending(&file);
    for run in 0..3 {
        recording.begin_run();
        recording.add(&by(b"up", write("net/ipv4/ip_forward", "1\n")));
        if run == 1 {
            recording.add(&by(b"down", write("net/ipv4/ip_forward", "0\n")));
        }
    }
    let text = learn(&recording, &OPTIONS).expect("a policy").file.source().text().to_owned();
    let added = "# seen 1×, in 1 of 3 runs, by down\nallow write net.ipv4.ip_forward if new == 0\n";
    assert!(text.contains(added), "{text}");
}

#[test]
fn a_test_that_an_added_rule_contradicts_is_changed() {
    let file = learnt(&[write("net/core/somaxconn", "16384\n"), write("net/ipv4/ip_forward", "1\n")]).file;
    assert!(
        file.source().text().contains("write net.core.somaxconn \"16385\\n\" => deny"),
        "next to what was seen"
    );
    let extended = extend(&file, &[write("net/core/somaxconn", "16385\n")]);
    assert_sound(&extended.file);
    let text = extended.file.source().text();
    assert!(text.contains("write net.core.somaxconn \"16385\\n\" => allow"), "{text}");
    assert!(text.contains("write net.ipv4.ip_forward \"2\\n\" => deny"), "{text}");
    assert_eq!(
        extended.notes,
        ["the tests expected otherwise of what is allowed now, and were changed: line 17"]
    );
}

#[test]
fn the_text_of_an_extended_policy_stays_as_it_is() {
    let text = "# tab\there, \u{200d}joiner\r\npolicy web\r\n\r\nallow write kernel.domainname if new == \"\u{200d}\"\r\n";
    let file = policy(text);
    let extended = extend(&file, &[write("net/core/somaxconn", "5\n")]);
    assert_sound(&extended.file);
    let extended = extended.file.source().text();
    assert!(extended.starts_with(text), "{extended:?}");
    assert!(extended.contains("\r\nallow write net.core.somaxconn if new == 5\r\n"), "{extended:?}");
    assert!(extended.split_inclusive('\n').all(|line| line.ends_with("\r\n")), "{extended:?}");
}
