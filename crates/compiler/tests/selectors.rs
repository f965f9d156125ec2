//! Programs know nothing of `apply if`.
#![allow(missing_docs)]

use knobgate_bpf::Features;
use knobgate_compiler::{POLICY_TEXT_MAP, PolicySource, compile};
use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};

fn file(apply_if: &str) -> PolicyFile {
    let text = format!("policy x\n{apply_if}\nallow write vm.* if new in 1..5 log\n");
    parse(Source::new("x.knob", text), &CheckOptions::default()).expect("a policy")
}

/// The whole program, and the text that it carries.
fn compiled<'a>(policy: impl Into<PolicySource<'a>>) -> (String, String) {
    let compiled = compile(policy, &Features::ALL).expect("it compiles");
    let program = compiled.program();
    let text = program.maps.iter().find(|map| map.name == POLICY_TEXT_MAP).expect("its text");
    let text = String::from_utf8(text.contents[0].1.clone()).expect("UTF-8");
    (format!("{program:?}"), text)
}

#[test]
fn policies_that_differ_in_their_selectors_alone_have_the_same_program() {
    let files =
        ["", "apply if namespace == \"prod\"", "apply if image starts with \"a.example/\"  # b"].map(file);
    let expected = compiled(&files[0]);
    assert_eq!(expected.1, "policy x\n\nallow write vm.* if new in 1..5 log\n");
    let without_file = compiled(files[0].policy());
    for file in &files {
        assert_eq!(compiled(file), expected);
        assert_eq!(compiled(file.policy()), without_file);
        assert_eq!(file.rule_place(0).map(|place| place.line), Some(3));
    }
}
