//! A policy beyond a limit is an error with the limit and the rule.

use knobgate_bpf::Features;
use knobgate_compiler::{CompileError, Compiled, Degradation, compile};
use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};

fn policy(rules: &[&str]) -> PolicyFile {
    let text = format!("policy limits\n{}\n", rules.join("\n"));
    parse(Source::new("limits.knob", text), &CheckOptions::default()).unwrap()
}

/// A pattern whose automaton has to remember which of the last 24 bytes were an `a`.
const EXPONENTIAL: &str = "*a???????????????????????";

#[test]
fn a_name_pattern_with_too_large_an_automaton_is_an_error_at_its_rule() {
    let rule = format!("deny write {EXPONENTIAL}");
    let file = policy(&["deny write kernel.ostype", "allow write net.**", &rule, "allow write vm.*"]);
    let error = compile(&file, &Features::ALL).unwrap_err();
    assert!(matches!(error, CompileError::PatternsTooComplex { rule: 2 }), "{error}");
    assert_eq!(error.rule(), Some(2));
    assert!(error.to_string().contains("4194304"), "{error}");
}

#[test]
fn a_text_pattern_with_too_large_an_automaton_is_an_error_at_its_rule() {
    let rule = format!("allow write kernel.core_pattern if new matches \"{EXPONENTIAL}\"");
    let error = compile(&policy(&["deny write kernel.ostype", &rule]), &Features::ALL).unwrap_err();
    assert!(matches!(error, CompileError::TextTooComplex { rule: 1 }), "{error}");
}

#[test]
fn patterns_that_are_together_too_complex_are_an_error_at_a_rule() {
    // The same starred parts, in a different order in each pattern.
    let letter = |i: usize, k: usize| char::from(b'a' + ((i * 7 + k) % 10) as u8);
    let starred = |i| (0..20).map(|k| format!("*{}", letter(i, k))).collect::<String>() + &format!("{i}*");
    let starred = (0..50).map(starred).collect::<Vec<_>>().join(", ");
    let rules = ["deny write vm.*", &format!("deny write {starred}"), "deny write kernel.*"];
    let error = compile(&policy(&rules), &Features::ALL).unwrap_err();
    assert!(matches!(error, CompileError::PatternsTooComplex { rule: 1 }), "{error}");
}

#[test]
fn many_text_patterns_compile_and_equal_ones_share_an_automaton() {
    let rules: Vec<String> =
        (0..400).map(|i| format!("allow write vm.x{i} if new matches \"*a???b{}*\"", i % 300)).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    assert!(compile(&policy(&rules), &Features::ALL).is_ok());
}

#[test]
fn a_policy_that_needs_an_unavailable_helper_is_an_error() {
    let file = policy(&["allow write vm.*", "deny write kernel.* if comm == \"sh\""]);
    let error = compile(&file, &Features::BASELINE).unwrap_err();
    assert!(matches!(error, CompileError::NotOnThisKernel { rule: 1, operand: "comm" }), "{error}");
}

#[test]
fn what_the_kernel_cannot_do_is_denied_and_reported() {
    let rules = [
        "set write vm.swappiness to \"10\"",
        "clamp write vm.x to [1..2, 3..4]",
        "deny(EROFS) write kernel.*",
    ];
    let weak = Features { set_retval: false, set_new_value: false, variable_stack: false, ..Features::ALL };
    let degradations = compile(&policy(&rules), &weak).unwrap().into_parts().1;
    assert!(degradations.contains(&Degradation::RewriteIsDenied { rule: 0 }), "{degradations:?}");
    assert!(degradations.contains(&Degradation::VectorClampIsDenied { rule: 1 }), "{degradations:?}");
    assert!(
        degradations
            .iter()
            .any(|d| matches!(d, Degradation::ErrnoIsEperm(errno) if errno.to_string() == "EROFS"))
    );
    assert_eq!(compile(&policy(&rules), &Features::ALL).unwrap().degradations(), []);
}

#[test]
fn the_name_is_fetched_only_for_kinds_of_access_that_need_it() {
    // If the rules have literal last components, the last component of the name is fetched first.
    let names = |rules: &[&str]| {
        let listing = compile(&policy(rules), &Features::ALL).unwrap().program().listing().to_string();
        let (before, _) = listing.split_once("bpf_sysctl_get_name").unwrap();
        (before.contains("r1 != 0x0 goto"), listing.matches("call bpf_sysctl_get_name").count())
    };
    for (rules, fetches) in [
        (&["default write allow", "deny read kernel.ostype"][..], 2),
        (&["deny write kernel.ostype"], 2),
        (&["deny read kernel.**"], 1),
        (&["deny read write kernel.*"], 2),
        (&["deny read kernel.ostype", "deny write **"], 2),
        (&["deny write **", "deny write kernel.ostype", "deny read kernel.**"], 1),
    ] {
        assert_eq!(names(rules), (true, fetches), "{rules:?}");
    }
    let one_rule_for_all = compile(&policy(&["deny write **"]), &Features::ALL).unwrap();
    assert!(!one_rule_for_all.program().listing().to_string().contains("get_name"));
}

#[test]
fn conditions_that_are_too_much_inlined_are_interpreted_on_kernels_with_bpf_loop() {
    let rules: Vec<String> = (0..900)
        .map(|i| format!("deny write vm.** if new contains \"{i}\" or old contains \"{i}\""))
        .collect();
    let file = policy(&rules.iter().map(String::as_str).collect::<Vec<_>>());
    let interprets = |compiled: &Compiled| {
        compiled.program().functions.iter().any(|function| function.name.starts_with("test"))
    };
    assert!(interprets(&compile(&file, &Features::ALL).unwrap()));
    let interpreted = |features| compile(&file, &features).map(|compiled| interprets(&compiled));
    let error = interpreted(Features { bpf_loop: false, ..Features::ALL }).unwrap_err();
    let CompileError::TooMuchToVerify { rule, bpf_loop: false } = error else { panic!("{error}") };
    // Each condition matches two values, with about 1,500 instructions.
    assert!((250..450).contains(&rule), "{rule}");
    assert!(error.to_string().contains("bpf_loop (Linux 5.17)"), "{error}");

    let few = policy(&["deny write vm.** if new contains \"1\" or old contains \"1\""]);
    assert!(!interprets(&compile(&few, &Features::ALL).unwrap()));
}

#[test]
fn a_policy_that_is_too_large_in_every_form_is_an_error_at_a_rule() {
    // Every list with different ends is clamped by separate code.
    let ends = ["1..2", "1..", "..2", "-1..2", "-2..-1"];
    let rule = |i: usize| {
        let list: Vec<&str> = (0..4).map(|place| ends[i / ends.len().pow(place) % ends.len()]).collect();
        format!("clamp write vm.x{i} to [{}]", list.join(", "))
    };
    let rules: Vec<String> = (0..625).map(rule).collect();
    let error =
        compile(&policy(&rules.iter().map(String::as_str).collect::<Vec<_>>()), &Features::ALL).unwrap_err();
    assert!(matches!(error, CompileError::TooMuchToVerify { bpf_loop: true, .. }), "{error}");
    assert!(error.rule().is_some_and(|rule| rule > 100), "{error:?}");
    assert!(!error.to_string().contains("bpf_loop"), "{error}");
}

#[test]
fn compiling_is_deterministic() {
    // Attaching the same policy to more cgroups relies on this, to share one program.
    let large: Vec<String> = (0..300)
        .map(|number| match number % 3 {
            0 => format!("deny write net.ipv4.conf.*.knob{number}"),
            1 => format!(
                "allow read write kernel.knob{number} if {number} <= new <= 1000 or old matches \"*{number}\""
            ),
            _ => format!("clamp write **.{{a,b}}{number}?x to {number}..1000"),
        })
        .collect();
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    for rules in
        [&["allow write net.{ipv4,ipv6}.** if new matches \"a*\"", "clamp write vm.* to 1..2"][..], &large]
    {
        let file = policy(rules);
        let first = compile(&file, &Features::ALL).unwrap();
        for _ in 0..4 {
            assert!(compile(&file, &Features::ALL).unwrap() == first, "of {} rules", rules.len());
        }
    }
}

#[test]
fn an_object_file_can_contain_the_maps_of_a_policy() {
    let file = policy(&["deny write kernel.ostype, kernel.core_pattern", "allow write net.*.somaxconn"]);
    let program = compile(&file, &Features::ALL).unwrap().into_parts().0;
    knobgate_bpf::write_object(&program).unwrap();
}
