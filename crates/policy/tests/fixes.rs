//! Every fix that the checker suggests, applied: the result is the policy that was meant.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use knobgate_policy::{CheckOptions, Diagnostic, KnobName, Source, Suggestion, parse};
use proptest::prelude::*;

/// At most this many fixes are applied to one text.
const ROUNDS_MAX: usize = 8;

fn diagnostics(text: &str, options: &CheckOptions<'_>) -> (bool, Vec<Diagnostic>) {
    match parse(Source::new("x.knob", text), options) {
        Ok(file) => (true, file.warnings().to_vec()),
        Err(error) => (false, error.into_iter().collect()),
    }
}

fn applied(text: &str, fix: &Suggestion) -> String {
    let mut fixed = text.to_owned();
    fixed.replace_range(fix.span.range(), &fix.replacement);
    fixed
}

/// `text` after all suggested fixes have been applied, one at a time, and whether it is then a policy. Adds the codes
/// of the errors that were fixed.
fn fixed(text: &str, options: &CheckOptions<'_>, codes: &mut BTreeSet<&'static str>) -> (String, bool) {
    let mut text = text.to_owned();
    for _ in 0..ROUNDS_MAX {
        let (is_policy, diagnostics) = diagnostics(&text, options);
        let Some(diagnostic) = diagnostics.iter().find(|diagnostic| diagnostic.suggestion.is_some()) else {
            return (text, is_policy);
        };
        codes.insert(diagnostic.code);
        text = applied(&text, diagnostic.suggestion.as_ref().unwrap());
    }
    panic!("there is always something left to fix: {text}");
}

/// Wrong rules, and the right ones.
const RULES: &[(&str, &str)] = &[
    // Actions.
    ("alow write vm.a", "allow write vm.a"),
    ("ALLOW write vm.a", "allow write vm.a"),
    ("permit write vm.a", "allow write vm.a"),
    ("accept write vm.a", "allow write vm.a"),
    ("reject write vm.a", "deny write vm.a"),
    ("block write vm.a", "deny write vm.a"),
    ("forbid write vm.a", "deny write vm.a"),
    ("limit write vm.a to 1..2", "clamp write vm.a to 1..2"),
    ("rewrite write vm.a to \"1\"", "set write vm.a to \"1\""),
    ("write allow vm.a", "allow write vm.a"),
    // Errnos.
    ("deny write vm.a with EACCES", "deny(EACCES) write vm.a"),
    ("deny write vm.a, vm.b with errno EACCES log", "deny(EACCES) write vm.a, vm.b log"),
    ("deny write vm.a EACCES", "deny(EACCES) write vm.a"),
    ("deny write vm.a eacces", "deny(EACCES) write vm.a"),
    ("deny write vm.a (EACCES)", "deny(EACCES) write vm.a"),
    ("deny write vm.a errno=EACCES", "deny(EACCES) write vm.a"),
    ("deny write vm.a errno 13", "deny(EACCES) write vm.a"),
    ("deny write vm.a returning -EACCES", "deny(EACCES) write vm.a"),
    ("deny write vm.a => EACCES", "deny(EACCES) write vm.a"),
    ("deny write vm.a as EPREM", "deny(EPERM) write vm.a"),
    ("deny write vm.a with EACCES if new > 5", "deny(EACCES) write vm.a if new > 5"),
    ("deny write vm.a if new > 5 with EACCES", "deny(EACCES) write vm.a if new > 5"),
    ("deny write vm.a if new > 5 EACCES", "deny(EACCES) write vm.a if new > 5"),
    ("deny write vm.a if new == \"a\" log EACCES", "deny(EACCES) write vm.a if new == \"a\" log"),
    ("deny write(EACCES) vm.a", "deny(EACCES) write vm.a"),
    ("deny write EACCES vm.a", "deny(EACCES) write vm.a"),
    ("deny EACCES write vm.a", "deny(EACCES) write vm.a"),
    ("deny eacces write vm.a", "deny(EACCES) write vm.a"),
    ("deny EPREM write vm.a", "deny(EPERM) write vm.a"),
    ("deny 13 write vm.a", "deny(EACCES) write vm.a"),
    ("deny -13 write vm.a", "deny(EACCES) write vm.a"),
    ("deny \"EACCES\" write vm.a", "deny(EACCES) write vm.a"),
    ("deny[EACCES] write vm.a", "deny(EACCES) write vm.a"),
    ("deny:EACCES write vm.a", "deny(EACCES) write vm.a"),
    ("deny=EACCES write vm.a", "deny(EACCES) write vm.a"),
    ("deny with EACCES write vm.a", "deny(EACCES) write vm.a"),
    ("deny(eacces) write vm.a", "deny(EACCES) write vm.a"),
    ("deny(EPREM) write vm.a", "deny(EPERM) write vm.a"),
    ("deny(13) write vm.a", "deny(EACCES) write vm.a"),
    ("deny(-EACCES) write vm.a", "deny(EACCES) write vm.a"),
    ("deny(EACCES write vm.a", "deny(EACCES) write vm.a"),
    // Namespaces.
    ("allow write net.** if net_ns == host", "allow write net.** if netns == host"),
    ("allow write net.** if netns is host", "allow write net.** if netns == host"),
    ("allow write net.** if netns != root", "allow write net.** if netns != host"),
    ("allow write net.** if netns == \"host\"", "allow write net.** if netns == host"),
    // Kinds of access.
    ("allow rw vm.a", "allow read write vm.a"),
    ("allow readwrite vm.a", "allow read write vm.a"),
    ("allow wirte vm.a", "allow write vm.a"),
    ("allow w vm.a", "allow write vm.a"),
    ("allow read, write vm.a", "allow read write vm.a"),
    ("allow read and write vm.a", "allow read write vm.a"),
    ("allow read or write vm.a", "allow read write vm.a"),
    ("allow read|write vm.a", "allow read write vm.a"),
    ("allow read/write vm.a", "allow read write vm.a"),
    ("allow read-write vm.a", "allow read write vm.a"),
    ("allow read & write vm.a", "allow read write vm.a"),
    ("allow read read vm.a", "allow read vm.a"),
    ("set vm.a to \"1\"", "set write vm.a to \"1\""),
    ("clamp vm.a to 1..2", "clamp write vm.a to 1..2"),
    ("set read write vm.a to \"1\"", "set write vm.a to \"1\""),
    // Names.
    ("deny write to vm.a", "deny write vm.a"),
    ("deny write access to vm.a", "deny write vm.a"),
    ("deny write on vm.a if new == 1", "deny write vm.a if new == 1"),
    ("allow write vm.a vm.b", "allow write vm.a, vm.b"),
    ("allow write vm.a and vm.b", "allow write vm.a, vm.b"),
    ("allow write vm.a or vm.b", "allow write vm.a, vm.b"),
    ("allow write vm.a | vm.b", "allow write vm.a, vm.b"),
    ("allow write vm.a **", "allow write vm.a, **"),
    ("allow write vm.a, if new == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a, log", "allow write vm.a log"),
    ("allow write \"vm.a\"", "allow write vm.a"),
    ("allow write 'vm.a'", "allow write vm.a"),
    ("allow write \u{201c}vm.a\u{201d}", "allow write vm.a"),
    ("allow write all", "allow write **"),
    ("allow write /proc/sys/vm/a", "allow write vm/a"),
    ("allow write /proc/sys/net/ipv4/conf/eth0.1/b", "allow write net/ipv4/conf/eth0.1/b"),
    ("allow write proc.sys.vm.a", "allow write vm.a"),
    ("allow write proc/sys/vm/a", "allow write vm/a"),
    ("allow write .vm.a", "allow write vm.a"),
    ("allow write /vm/a", "allow write vm/a"),
    ("allow write vm.[^a]", "allow write vm.[!a]"),
    ("allow write vm.{a, b}", "allow write vm.{a,b}"),
    ("allow write vm.{a, {b , c}}.d, vm.e", "allow write vm.{a,{b,c}}.d, vm.e"),
    // What is written.
    ("set write vm.a \"10\"", "set write vm.a to \"10\""),
    ("set write vm.a 10", "set write vm.a to \"10\""),
    ("set write vm.a=10", "set write vm.a to \"10\""),
    ("set write vm.a = 10", "set write vm.a to \"10\""),
    ("set write vm.a to 10", "set write vm.a to \"10\""),
    ("set write vm.a to -1", "set write vm.a to \"-1\""),
    ("set write vm.a to bbr", "set write vm.a to \"bbr\""),
    ("set write vm.a to /bin/false", "set write vm.a to \"/bin/false\""),
    ("set write vm.a to 'a b'", "set write vm.a to \"a b\""),
    ("set write vm.a to \u{201c}a b\u{201d}", "set write vm.a to \"a b\""),
    ("set write vm.a to \"10\\n\"", "set write vm.a to \"10\""),
    ("set write vm.a if uid == 0 to \"10\" log", "set write vm.a to \"10\" if uid == 0 log"),
    ("clamp write vm.a 1..5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a in 1..5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a = 1..5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a between 1 and 5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to 1-5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to 1 - 5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to 1...5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to 1:5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to 1 to 5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to between 1 and 5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to 1..=5", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to ..=5", "clamp write vm.a to ..5"),
    ("clamp write vm.a to 1..<5", "clamp write vm.a to 1..4"),
    ("clamp write vm.a to 5..1", "clamp write vm.a to 1..5"),
    ("clamp write vm.a to [1-5, 0x10-0x20]", "clamp write vm.a to [1..5, 0x10..0x20]"),
    ("clamp write vm.a if uid == 0 to 1..5", "clamp write vm.a to 1..5 if uid == 0"),
    // Numbers.
    ("allow write vm.a if new <= 64K", "allow write vm.a if new <= 65536"),
    ("allow write vm.a if new <= 64KiB", "allow write vm.a if new <= 65536"),
    ("allow write vm.a if new <= 4M", "allow write vm.a if new <= 4194304"),
    ("allow write vm.a if new <= 2G", "allow write vm.a if new <= 2147483648"),
    ("allow write vm.a if new <= 4T", "allow write vm.a if new <= 4398046511104"),
    ("allow write vm.a if new <= 4TB", "allow write vm.a if new <= 4398046511104"),
    ("allow write vm.a if new <= 1p", "allow write vm.a if new <= 1125899906842624"),
    ("allow write vm.a if new <= 1E", "allow write vm.a if new <= 1152921504606846976"),
    ("allow write vm.a if new >= -1K", "allow write vm.a if new >= -1024"),
    ("allow write vm.a if new <= 1e6", "allow write vm.a if new <= 1000000"),
    ("allow write vm.a if new == 0b101", "allow write vm.a if new == 5"),
    ("allow write vm.a if new == 0o17", "allow write vm.a if new == 15"),
    ("allow write vm.a if new <= 1,000,000", "allow write vm.a if new <= 1_000_000"),
    ("clamp write vm.a to 4K..64K", "clamp write vm.a to 4096..65536"),
    // Conditions.
    ("allow write vm.a when new == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a where not new == 1", "allow write vm.a if not new == 1"),
    ("allow write vm.a with new == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a IF new == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a unless new == 1", "allow write vm.a if not new == 1"),
    (
        "allow write vm.a unless new == 1 or old == 1 log",
        "allow write vm.a if not (new == 1 or old == 1) log",
    ),
    ("allow write vm.a == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a = 1", "allow write vm.a if new == 1"),
    ("allow write vm.a=1", "allow write vm.a if new ==1"),
    ("allow write vm.a <= 60", "allow write vm.a if new <= 60"),
    ("allow write vm.a in 1..5", "allow write vm.a if new in 1..5"),
    ("allow write vm.a between 1 and 5", "allow write vm.a if new in 1..5"),
    ("allow read vm.a == 1", "allow read vm.a if old == 1"),
    ("allow write vm.a log if new == 1", "allow write vm.a if new == 1 log"),
    ("allow write vm.a if new == 1 log log", "allow write vm.a if new == 1 log"),
    ("allow write vm.a lgo", "allow write vm.a log"),
    ("allow write vm.a log(10/s) if new == 1", "allow write vm.a if new == 1 log(10/s)"),
    ("allow write vm.a log()", "allow write vm.a log"),
    ("allow write vm.a log(5)", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(5s)", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(5 s)", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(5 per second)", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(5/sec)", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(120/m)", "allow write vm.a log(2/s)"),
    ("allow write vm.a log(5/", "allow write vm.a log(5/s)"),
    ("allow write vm.a log 5", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(5/s", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(5", "allow write vm.a log(5/s)"),
    ("allow write vm.a log(all", "allow write vm.a log(all)"),
    ("allow write vm.a log 5/s", "allow write vm.a log(5/s)"),
    ("allow write vm.a log all", "allow write vm.a log(all)"),
    ("allow write vm.a log(0/s)", "allow write vm.a nolog"),
    ("allow write vm.a log(none)", "allow write vm.a nolog"),
    ("allow write vm.a log(0)", "allow write vm.a nolog"),
    ("allow write vm.a log(2_000_000/sec)", "allow write vm.a log(all)"),
    ("allow write vm.a log(unlimited)", "allow write vm.a log(all)"),
    ("allow write vm.a log(1_000_001/s)", "allow write vm.a log(all)"),
    ("default read allow log(0/s)", "default read allow nolog"),
    ("deny write vm.a log(EACCES)", "deny(EACCES) write vm.a log"),
    ("deny write vm.a if new > 5 else allow", "deny write vm.a if new > 5\nallow write vm.a"),
    (
        "allow write vm.a, vm.b if new > 5 else deny(EACCES) log",
        "allow write vm.a, vm.b if new > 5\ndeny(EACCES) write vm.a, vm.b log",
    ),
    ("allow write vm.a if new = 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if new === 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if new <> 1", "allow write vm.a if new != 1"),
    ("allow write vm.a if new =< 1", "allow write vm.a if new <= 1"),
    ("allow write vm.a if new => 1", "allow write vm.a if new >= 1"),
    ("allow write vm.a if new \u{2264} 1", "allow write vm.a if new <= 1"),
    ("allow write vm.a if 1 \u{2264} new \u{2264} 5", "allow write vm.a if 1 <= new <= 5"),
    ("allow write vm.a if new is 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if new is not 1", "allow write vm.a if new != 1"),
    ("allow write vm.a if new equals 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if new equals to 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if new le 1", "allow write vm.a if new <= 1"),
    ("allow write vm.a if new == 1 && old == 1", "allow write vm.a if new == 1 and old == 1"),
    ("allow write vm.a if new == 1 || old == 1", "allow write vm.a if new == 1 or old == 1"),
    ("allow write vm.a if new == 1||old == 1", "allow write vm.a if new == 1 or old == 1"),
    ("allow write vm.a if new == 1 & old == 1", "allow write vm.a if new == 1 and old == 1"),
    ("allow write vm.a if (new == 1 AND old == 1)", "allow write vm.a if (new == 1 and old == 1)"),
    ("allow write vm.a if new == 1 nad old == 1", "allow write vm.a if new == 1 and old == 1"),
    ("allow write vm.a if !new == 1", "allow write vm.a if not new == 1"),
    ("allow write vm.a if !(new == 1)", "allow write vm.a if not (new == 1)"),
    ("allow write vm.a if NOT new == 1", "allow write vm.a if not new == 1"),
    ("allow write vm.a if new == 1 or 2", "allow write vm.a if new == 1 or new == 2"),
    (
        "allow write vm.a if new == 1 or 2 or 3 log",
        "allow write vm.a if new == 1 or new == 2 or new == 3 log",
    ),
    ("allow write vm.a if new > 1 and < 5", "allow write vm.a if new > 1 and new < 5"),
    ("allow write vm.a if new[1] == 1 or 2", "allow write vm.a if new[1] == 1 or new[1] == 2"),
    ("allow write vm.a if new between 1 and 3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new between 1 and 3 and uid == 0", "allow write vm.a if new in 1..3 and uid == 0"),
    ("allow write vm.a if new in between 1 and 3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new is between 1 and 3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new within 1..3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new in 1-3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new in 1 to 3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new in 1...3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new in -3--1", "allow write vm.a if new in -3..-1"),
    ("allow write vm.a if new == 1..3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new = 1-3", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new != 1..3", "allow write vm.a if not new in 1..3"),
    ("allow write vm.a if new == {1, 2}", "allow write vm.a if new in {1, 2}"),
    ("allow write vm.a if new == 1 or old != {1, 2}", "allow write vm.a if new == 1 or not old in {1, 2}"),
    ("allow write vm.a if new in 8192", "allow write vm.a if new == 8192"),
    ("allow write vm.a if new in \"a\"", "allow write vm.a if new == \"a\""),
    ("allow write vm.a if new in 1, 2, 3", "allow write vm.a if new in {1, 2, 3}"),
    ("allow write vm.a if new in 1 or 2", "allow write vm.a if new == 1 or new == 2"),
    ("allow write vm.a if new in (1, 2)", "allow write vm.a if new in {1, 2}"),
    ("allow write vm.a if new in (1)", "allow write vm.a if new in {1}"),
    ("allow write vm.a if uid in [1, 2, 3]", "allow write vm.a if uid in {1, 2, 3}"),
    ("allow write vm.a if uid in [1..3]", "allow write vm.a if uid in 1..3"),
    ("allow write vm.a if new == {1..3}", "allow write vm.a if new in {1..3}"),
    ("allow write vm.a if new == [1, 2..3]", "allow write vm.a if new in [1, 2..3]"),
    ("allow write vm.a if new != [1, 2..3]", "allow write vm.a if not new in [1, 2..3]"),
    ("allow write vm.a if new in {1-3, 5}", "allow write vm.a if new in {1..3, 5}"),
    ("allow write vm.a if new in {3..1}", "allow write vm.a if new in {1..3}"),
    ("allow write vm.a if new in {bbr, cubic}", "allow write vm.a if new in {\"bbr\", \"cubic\"}"),
    ("allow write vm.a if new in 3..1", "allow write vm.a if new in 1..3"),
    ("allow write vm.a if new not in {1, 2}", "allow write vm.a if not new in {1, 2}"),
    ("allow write vm.a if new not matches \"a*\"", "allow write vm.a if not new matches \"a*\""),
    ("allow write vm.a if new not == 1", "allow write vm.a if not new == 1"),
    ("allow write vm.a if nwe == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if value == 1", "allow write vm.a if new == 1"),
    ("allow write vm.a if user == root", "allow write vm.a if uid == 0"),
    ("allow write vm.a if new == true", "allow write vm.a if new == 1"),
    ("allow write vm.a if new == bbr", "allow write vm.a if new == \"bbr\""),
    ("allow write vm.a if comm == sysctl", "allow write vm.a if comm == \"sysctl\""),
    ("allow write vm.a if comm == systemd-sysctl log", "allow write vm.a if comm == \"systemd-sysctl\" log"),
    ("allow write vm.a if comm == name", "allow write vm.a if comm == \"name\""),
    ("allow write vm.a if comm == 5", "allow write vm.a if comm == \"5\""),
    ("allow write vm.a if uid == \"0\"", "allow write vm.a if uid == 0"),
    ("allow write vm.a if new <= \"60\"", "allow write vm.a if new <= 60"),
    ("allow write vm.a if new == 'x'", "allow write vm.a if new == \"x\""),
    ("allow write vm.a if new == \u{201c}x\u{201d}", "allow write vm.a if new == \"x\""),
    ("allow write vm.a if new == \"a\\n\"", "allow write vm.a if new == \"a\""),
    ("allow write vm.a if new in {\"a\\n\", \"b\"}", "allow write vm.a if new in {\"a\", \"b\"}"),
    ("allow write vm.a if new mathces \"a*\"", "allow write vm.a if new matches \"a*\""),
    ("allow write vm.a if new matches web-*", "allow write vm.a if new matches \"web-*\""),
    ("allow write vm.a if new like \"web-*\"", "allow write vm.a if new matches \"web-*\""),
    ("allow write vm.a if new starts \"a\"", "allow write vm.a if new starts with \"a\""),
    ("allow write vm.a if new startswith \"a\"", "allow write vm.a if new starts with \"a\""),
    ("allow write vm.a if new begins with \"a\"", "allow write vm.a if new starts with \"a\""),
    ("allow write vm.a if new begins \"a\"", "allow write vm.a if new starts with \"a\""),
    ("allow write vm.a if new ends with \"a\"", "allow write vm.a if new matches \"*a\""),
    ("allow write vm.a if new endswith \".org\"", "allow write vm.a if new matches \"*.org\""),
    ("allow write vm.a if new includes \"a\"", "allow write vm.a if new contains \"a\""),
    // Ends of lines and comments.
    ("allow write vm.a;", "allow write vm.a"),
    ("allow write vm.a if new == 1;", "allow write vm.a if new == 1"),
    ("allow write vm.a; deny write vm.b", "allow write vm.a\ndeny write vm.b"),
    ("allow write vm.a ; as ever", "allow write vm.a # as ever"),
    ("allow write vm.a // as ever", "allow write vm.a # as ever"),
    ("; a comment", "# a comment"),
    ("// a comment", "# a comment"),
    ("allow write vm.a \u{a0}if new == 1", "allow write vm.a  if new == 1"),
    // Other statements.
    ("mode complain", "mode audit"),
    ("mode enforcing", "mode enforce"),
    ("mode = audit", "mode audit"),
    ("mode: audit", "mode audit"),
    ("audit", "mode audit"),
    ("default write block", "default write deny"),
    ("default deny write", "default write deny"),
    ("default write: deny", "default write deny"),
    ("default write = deny", "default write deny"),
    ("default write deny EACCES", "default write deny(EACCES)"),
    ("default write deny with EACCES log", "default write deny(EACCES) log"),
    ("default read write deny", "default read deny\ndefault write deny"),
    // Tests.
    ("test x { read vm.a => allow }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { raed vm.a => allow }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { read vm.a -> allow }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { read vm.a : allow }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { read vm.a allow }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { read vm.a => permit }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { read vm.a => denied }", "test \"x\" { read vm.a => deny }"),
    ("test \"x\" { read vm.a => deny(EPERM) }", "test \"x\" { read vm.a => deny EPERM }"),
    ("test \"x\" { read vm.a => deny EPREM }", "test \"x\" { read vm.a => deny EPERM }"),
    ("test \"x\" { read vm.a => deny 13 }", "test \"x\" { read vm.a => deny EACCES }"),
    ("test \"x\" { read vm.a => EPERM }", "test \"x\" { read vm.a => deny EPERM }"),
    ("test \"x\" { read vm.a \"1\" => allow }", "test \"x\" { read vm.a old \"1\" => allow }"),
    ("test \"x\" { read \"vm.a\" => allow }", "test \"x\" { read vm.a => allow }"),
    ("test \"x\" { read /proc/sys/vm/a => allow }", "test \"x\" { read vm/a => allow }"),
    ("test \"x\" { write vm.a 5 => allow }", "test \"x\" { write vm.a \"5\" => allow }"),
    ("test \"x\" { write vm.a=5 => allow }", "test \"x\" { write vm.a \"5\" => allow }"),
    ("test \"x\" { write vm.a = \"5\" => allow }", "test \"x\" { write vm.a \"5\" => allow }"),
    ("test \"x\" { write vm.a new \"5\" => allow }", "test \"x\" { write vm.a \"5\" => allow }"),
    ("test \"x\" { write vm.a \"5\" old 4 => allow }", "test \"x\" { write vm.a \"5\" old \"4\" => allow }"),
    ("test \"x\" { write vm.a \"5\" user 7 => allow }", "test \"x\" { write vm.a \"5\" uid 7 => allow }"),
    (
        "test \"x\" { write vm.a \"5\" comm sh => allow }",
        "test \"x\" { write vm.a \"5\" comm \"sh\" => allow }",
    ),
    ("test \"x\" { write vm.a \"5\" => set 7 }", "test \"x\" { write vm.a \"5\" => set \"7\" }"),
];

/// The same for whole files.
const FILES: &[(&str, &str)] = &[
    ("allow read **\n", "policy NAME\nallow read **\n"),
    ("polcy x\nallow read **\n", "policy x\nallow read **\n"),
    ("policy web tier\nallow read **\n", "policy web-tier\nallow read **\n"),
    ("policy x\nallow write kernel.panik\n", "policy x\nallow write kernel.panic\n"),
    ("policy x\nallow write dev.*\n", "policy x\nallow write dev.**\n"),
    // From the catalogue.
    ("policy x\nallow write vm.drop_cachs\n", "policy x\nallow write vm.drop_caches\n"),
    (
        "policy x\nallow write net.ipv4.conf.web0.rp_fliter\n",
        "policy x\nallow write net.ipv4.conf.web0.rp_filter\n",
    ),
    // Another name of the same knob.
    (
        "policy x\ndeny write net.ipv4.ip_forward, vm.a\nallow write net.**\n",
        "policy x\ndeny write net.ipv4.ip_forward, net.ipv4.conf.all.forwarding, vm.a\nallow write net.**\n",
    ),
    // Interfaces with dots in their names.
    (
        "policy x\nallow write net.ipv4.conf.eth0.100.rp_filter\n",
        "policy x\nallow write net.ipv4.conf.eth0/100.rp_filter\n",
    ),
    (
        "policy x\nallow write net/ipv4/conf/eth0/100/rp_filter, vm/a\n",
        "policy x\nallow write net/ipv4/conf/eth0.100/rp_filter, vm/a\n",
    ),
    (
        "policy x\nallow write net.ipv6.conf.eth0.100.200.disable_ipv6 if new == 1\n",
        "policy x\nallow write net.ipv6.conf.eth0/100/200.disable_ipv6 if new == 1\n",
    ),
    (
        "policy x\nallow write net.ipv4.conf.eth0.*.rp_filter\n",
        "policy x\nallow write net.ipv4.conf.eth0/*.rp_filter\n",
    ),
    (
        "policy x\nallow write net.ipv{4,6}.conf.*.[0-9]*.{forwarding,mtu}\n",
        "policy x\nallow write net.ipv{4,6}.conf.*/[0-9]*.{forwarding,mtu}\n",
    ),
    (
        "policy x\ndeny write kernel.panic,  # one\n  kernel.ostype with EACCES\n",
        "policy x\ndeny(EACCES) write kernel.panic,  # one\n  kernel.ostype\n",
    ),
];

/// Rules that are ambiguous or mean nothing here. There is no fix, at most a help text.
const NO_FIX: &[&str] = &[
    "drop write vm.a",
    "get write vm.a",
    "log write vm.a",
    "audit write vm.a",
    "audit deny write vm.a",
    "vm.a = 10",
    "allow vm.a",
    "allow write vm.a with EACCES",
    "deny(EPERM) write vm.a with EACCES",
    "deny write vm.a no",
    "allow write vm.a of",
    "allow write vm.a for now",
    "allow write kernel.a b",
    "allow write vm.a to 1..5",
    "allow write vm.a in",
    "allow write vm.",
    "allow write /proc/sys",
    "set read vm.a to \"10\"",
    "set write vm.a to \"a\\nb\"",
    "clamp write vm.a to 5",
    "allow write vm.a if new <= 10s",
    "allow write vm.a if new <= 16E",
    "allow write vm.a if new <= 0x10K",
    "allow write vm.a if new == 08",
    "allow write vm.a if pid == 1",
    "allow write vm.a if euid == 0",
    "allow write vm.a if len(new) == 1",
    "allow write vm.a if name == \"a\"",
    "allow write vm.a if new == 1 xor old == 1",
    "allow write vm.a if new == 1 else",
    "allow write vm.a if new == 1 else if new == 2",
    "allow write vm.a if new != 1 or 2",
    "allow write vm.a if uid in [1, 5]",
    "allow write vm.a if new =~ \"a.*\"",
    "allow write vm.a if new like \"web_%\"",
    "allow write vm.a if new ends with \"[a]\"",
    "allow write vm.a if new starts with \"a\\n\"",
    "allow write vm.a if new == \"a\\nb\"",
    "allow write vm.a if new < \"a\"",
    "allow write vm.a if comm < \"5\"",
    "allow write vm.a log(10/m)",
    "allow write vm.a log(-1/s)",
    "allow write vm.a log(-1)",
    "allow write vm.a log -1",
    "allow write vm.a log(10x)",
    "allow write vm.a log(0/s",
    "allow write vm.a log(x)",
    "allow write vm.a nolog(5/s)",
    "allow write vm.a log(5/s) log(all)",
    "allow write vm.a log log(all)",
    "default deny",
    "test \"x\" { read vm.a => fail }",
];

fn knobs() -> Vec<KnobName> {
    ["kernel.panic", "kernel.ostype", "net.ipv4.x"]
        .iter()
        .map(|name| KnobName::parse(name).unwrap())
        .collect()
}

/// The codes of all errors in the tables above. Checks that every fix gives the right text.
fn checked_codes(failures: &mut Vec<String>) -> BTreeSet<&'static str> {
    let mut codes = BTreeSet::new();
    let knobs = knobs();
    let known = CheckOptions::default().knobs(&knobs);
    let mut check = |wrong: &str, right: &str, options: &CheckOptions<'_>| {
        let (fixed, is_policy) = fixed(wrong, options, &mut codes);
        if fixed != right || !is_policy {
            failures.push(format!(
                "{wrong}\nbecame {fixed}\ninstead of {right}\nsaying {:?}",
                diagnostics(&fixed, options).1
            ));
        }
    };
    for (wrong, right) in RULES {
        check(&format!("policy x\n{wrong}\n"), &format!("policy x\n{right}\n"), &CheckOptions::default());
    }
    for (wrong, right) in FILES {
        check(wrong, right, &known);
    }
    codes
}

#[test]
fn fixes_give_the_policy_that_was_meant() {
    let mut failures = Vec::new();
    checked_codes(&mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn ambiguous_mistakes_have_no_fix() {
    for rule in NO_FIX {
        let text = format!("policy x\n{rule}\n");
        let (is_policy, diagnostics) = diagnostics(&text, &CheckOptions::default());
        assert!(!is_policy, "{rule}");
        assert!(
            diagnostics.iter().all(|diagnostic| diagnostic.suggestion.is_none()),
            "{rule}: {diagnostics:?}"
        );
    }
}

#[test]
fn a_name_with_another_number_is_not_a_typo() {
    let knobs = knobs();
    let options = CheckOptions::default().knobs(&knobs);
    let (_, diagnostics) = diagnostics("policy x\nallow write net.ipv6.x\n", &options);
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].suggestion, None);
}

static CODES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| checked_codes(&mut Vec::new()));

/// Words of right and wrong rules.
const WORDS: &[&str] = &[
    "allow",
    "deny",
    "set",
    "clamp",
    "ignore",
    "permit",
    "default",
    "mode",
    "read",
    "write",
    "rw",
    "(EACCES)",
    "EACCES",
    "with",
    "13",
    "vm.a",
    "net.**",
    "vm.{a, b}",
    "'vm.b'",
    "/proc/sys/vm/c",
    "to",
    "on",
    "in",
    "is",
    "between",
    "if",
    "unless",
    "when",
    "log",
    "nolog",
    "(all)",
    "(5/s)",
    "(0",
    "/s",
    "/m",
    ")",
    "else",
    "new",
    "old",
    "nwe",
    "comm",
    "uid",
    "count(new)",
    "new[0]",
    "==",
    "=",
    "<=",
    "=>",
    "\u{2264}",
    "!=",
    "1",
    "5",
    "64K",
    "-3",
    "1..5",
    "1-5",
    "1...5",
    "{1, 2}",
    "(1, 2)",
    "\"a\"",
    "'a'",
    "sysctl",
    "true",
    "and",
    "or",
    "not",
    "&&",
    "!",
    ",",
    ";",
    "//",
    "|",
    ":",
    "matches",
    "starts",
    "ends",
    "\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Applying a fix removes its error, and the code of the error is in the tables above.
    #[test]
    fn a_fix_removes_its_error(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 1..12),
    ) {
        let text = format!("policy x\nallow write {}\n", words.join(" "));
        let options = CheckOptions::default();
        for diagnostic in diagnostics(&text, &options).1 {
            let Some(fix) = &diagnostic.suggestion else { continue };
            prop_assert!(CODES.contains(diagnostic.code), "{} is in no table", diagnostic.code);
            let mut fixed = applied(&text, fix);
            prop_assert_ne!(&fixed, &text);
            let same = |text: &str, most: usize| -> Vec<Diagnostic> {
                let is_same = |other: &Diagnostic| other.code == diagnostic.code && other.primary.span.start <= most;
                diagnostics(text, &options).1.into_iter().filter(is_same).collect()
            };
            // The same error may follow after the fixed place.
            let start = diagnostic.primary.span.start;
            let is_fixed = |fixed: &str| [start, usize::MAX].into_iter().any(|most| same(fixed, most).len() < same(&text, most).len());
            // Or again at this place, as of three words where one belongs. Each fix takes one away.
            for _ in &words {
                let again = same(&fixed, start).pop().and_then(|again| again.suggestion);
                let Some(again) = again.filter(|_| !is_fixed(&fixed)) else { break };
                fixed = applied(&fixed, &again);
            }
            prop_assert!(is_fixed(&fixed), "{text}\n{diagnostic:?}\n{fixed}");
        }
    }
}

/// Which engines start no container under a policy, if there is one; the suggested fix mends that.
fn denied_engines(text: &str) -> Option<String> {
    let file = parse(Source::new("x.knob", text), &CheckOptions::default()).expect(text);
    let warning = file.warnings().iter().find(|warning| warning.code == "denies-engine")?;
    let mut fix = warning.suggestion.clone().expect("a suggestion");
    let (own, span) = file.source().locate(fix.span);
    assert_eq!(own.text(), text);
    fix.span = span;
    let fixed = applied(text, &fix);
    let again = parse(Source::new("x.knob", &*fixed), &CheckOptions::default()).expect(&fixed);
    assert!(again.warnings().iter().all(|warning| warning.code != "denies-engine"), "{fixed}");
    Some(warning.message.clone())
}

#[test]
fn a_policy_that_denies_what_an_engine_writes_is_fixed() {
    let both = "no container of Docker or Podman starts under this policy";
    let docker = "no container of Docker starts under this policy";
    let podman = "no container of Podman starts under this policy";
    for (selector, expected) in [
        ("container == \"web\"", both),
        ("image starts with \"registry.example/web/\" or engine == systemd", both),
        ("not label(\"tier\") == \"front\"", both),
        ("not unit == \"nginx.service\"", both),
        ("engine == docker", docker),
        ("engine != podman and container starts with \"web\"", docker),
        ("cgroup matches \"/system.slice/docker-*.scope\"", docker),
        ("cgroup starts with \"/docker/\"", docker),
        ("engine in {podman, containerd}", podman),
        ("unit == \"nginx.service\"", ""),
        ("engine == systemd", ""),
        ("label(\"tier\") == \"front\" and engine == containerd", ""),
        ("namespace == \"prod\"", ""),
        ("cgroup matches \"/system.slice/*.service\"", ""),
    ] {
        for rest in ["", "default write deny", "default write deny\nallow write vm.swappiness # why\n"] {
            let text = format!("policy web\napply if {selector}\n{rest}");
            let found = denied_engines(&text).unwrap_or_default();
            assert!(found == expected, "{text}: {found}");
        }
    }
}

#[test]
fn only_what_is_denied_for_sure_keeps_an_engine_from_starting_containers() {
    for (rules, is_denied) in [
        ("default write allow", false),
        ("default write allow\ndeny write net.ipv4.ping_group_range if new[0] == 0", true),
        ("default write allow\ndeny write net.ipv4.ping_group_range if new[1] == 1", false),
        ("default write allow\ndeny write net.ipv4.ip_unprivileged_port_start if old == 1024", false),
        ("deny write net.** if comm != \"runc\"\nallow write net.**", false),
        ("deny write net.** if uid == 0\nallow write net.**", true),
        ("mode audit", false),
        ("include preset \"docker-default@1\"", false),
        ("include preset \"kubernetes-safe@1\"", false),
        ("include preset \"usermode-helpers@1\"", true),
        ("clamp write net.ipv4.ip_unprivileged_port_start to 5..1024\nallow write net.**", false),
        // This does not fit into what is written.
        ("clamp write net.ipv4.ip_unprivileged_port_start to 80..1024\nallow write net.**", true),
        ("allow write net.ipv4.ping_group_range", true),
        ("allow write net.ipv4.ping_group_range, net.ipv4.ip_unprivileged_port_start", false),
    ] {
        let text = format!("policy web\napply if container == \"web\"\n{rules}\n");
        let fixed = denied_engines(&text);
        assert_eq!(fixed.is_some(), is_denied, "{text}: {fixed:?}");
    }
    // Such a policy applies to nothing by itself.
    assert_eq!(denied_engines("policy web\ndefault write deny\n"), None);
}
