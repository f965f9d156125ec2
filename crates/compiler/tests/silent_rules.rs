//! What the code for events adds to programs that need none.
#![allow(missing_docs)]

use knobgate_bpf::{EventFeatures, Features};
use knobgate_compiler::{EventOptions, compile, compile_with_events};
use knobgate_policy::{CheckOptions, Source, parse};

#[test]
fn defaults_that_send_no_events_have_the_same_instructions_as_without_them() {
    let options =
        EventOptions { features: EventFeatures { current_pid_tgid: true, task: None }, observer: false };
    let instructions = |defaults: &str| {
        let text = format!("policy p\n{defaults}");
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).unwrap();
        let without = compile(&file, &Features::ALL).unwrap().program().insns.clone();
        let with = compile_with_events(&file, &Features::ALL, &options).unwrap().program().insns.clone();
        (without, with)
    };
    let (without, with) = instructions("default read allow\ndefault write deny nolog\n");
    assert_eq!(without, with);
    let (without, with) = instructions("default read allow\ndefault write deny\n");
    assert!(without.len() < with.len());
}
