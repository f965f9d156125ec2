//! Scenarios that the kernel cannot play: knobs are not what they say, or programs are for another kernel.

use std::fs;

use knobgate_bpf::{Insn, Program, Reg, Width};
use knobgate_kernel::{Link, LoadOptions, RunningKernel, load};
use knobgate_scenario::{
    ActionDocument, Document, HandlerKind, KernelError, KnobDocument, LinkFor, Scenario,
};
use knobgate_testing::scratch;
use libtest_mimic::Failed;

use crate::programs::setting;

fn values() -> [String; 2] {
    ["kernel/domainname", "net/core/somaxconn"]
        .map(|knob| fs::read_to_string(format!("/proc/sys/{knob}")).expect("a knob"))
}

/// `kernel/ostype`
fn last(document: &mut Document) -> &mut KnobDocument {
    document.knobs.last_mut().expect("there are some")
}

/// Makes a setting wrong.
type Change = fn(&mut Document);

pub(crate) fn wrong_knobs() -> Result<(), Failed> {
    let parent = scratch();
    let lock = Scenario::lock_machine(|_| {}).expect("a lock");
    let before = values();
    let changes: [(&str, Change); 9] = [
        ("this machine has no knob net/core/none", |document| {
            document.knobs[2].name = "net/core/none".to_owned();
        }),
        ("the knob kernel/ostype has the mode 0444 on this machine, and 0644 in the scenario", |document| {
            last(document).mode = None;
        }),
        ("the knob kernel/ostype cannot be set to \"Minix\"", |document| {
            last(document).value = Some("Minix".into());
        }),
        ("the knob net/core/somaxconn cannot be set to \"-1\"", |document| {
            document.knobs[1].value = Some("-1".into());
            document.knobs[1].handler.min = None;
        }),
        (
            "the knob net/core/somaxconn was given \"0x7\" and shows \"7\\n\", while the handler that the scenario gives \
             it would show \"0x7\\n\"",
            |document| {
                document.knobs[1].value = Some("0x7".into());
                document.knobs[1].handler.kind = HandlerKind::String;
                (document.knobs[1].handler.min, document.knobs[1].handler.max) = (None, None);
            },
        ),
        (
            "the knob kernel/ostype is \"Linux\\n\" on this machine, and cannot be read in the scenario",
            |document| {
                (last(document).value, last(document).handler.max_len) = (None, None);
                last(document).handler.read_error = Some("EIO".to_owned());
            },
        ),
        (
            "reading the knob net/ipv6/conf/default/stable_secret fails on this machine, and should fail with EINVAL",
            |document| {
                let knob = last(document);
                (knob.name, knob.mode) =
                    ("net/ipv6/conf/default/stable_secret".to_owned(), Some("0600".to_owned()));
                (knob.value, knob.handler.max_len) = (None, None);
                knob.handler.read_error = Some("EINVAL".to_owned());
            },
        ),
        // It cannot be read by anybody, and in a network namespace of its own need not be restored.
        ("the knob net/ipv4/route/flush cannot be set to \"Linux\"", |document| {
            (last(document).name, last(document).mode) =
                ("net/ipv4/route/flush".to_owned(), Some("0200".to_owned()));
        }),
        ("the knob vm/compact_memory cannot be read, so its value could not be restored", |document| {
            (last(document).name, last(document).mode) =
                ("vm/compact_memory".to_owned(), Some("0200".to_owned()));
        }),
    ];
    for (expected, change) in changes {
        let mut document = setting();
        change(&mut document);
        let scenario = Scenario::check(&document, &mut |_| unreachable!("it names no files"));
        let scenario = scenario.expect("it is right by itself");
        match scenario.play_on_kernel(&parent, &lock) {
            Ok(_) => {
                return Err(format!("played, and should have failed: {expected}").into());
            }
            Err(error) if !error.to_string().contains(expected) => {
                return Err(format!("failed with: {error}\n  and should have: {expected}").into());
            }
            Err(_) => {}
        }
        assert_eq!(values(), before, "after: {expected}");
        assert_eq!(parent.descendants().expect("cgroups"), [], "after: {expected}");
    }
    // And what was played leaves nothing behind either.
    let scenario =
        Scenario::check(&setting(), &mut |_| unreachable!("it names no files")).expect("it is right");
    let play = scenario.play_on_kernel(&parent, &lock).expect("it can be played");
    assert_ne!(values(), before);
    drop(play);
    assert_eq!(values(), before);
    Ok(())
}

pub(crate) fn programs_of_others() -> Result<(), Failed> {
    let parent = scratch();
    let lock = Scenario::lock_machine(|_| {}).expect("a lock");
    let insns = vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()];
    let program = Program { name: "others".to_owned(), insns, ..Program::default() };
    let loaded = load(&program, &LoadOptions::default()).expect("it is taken");
    let _link = Link::create(&loaded.program, &parent).expect("it is attached");
    let document =
        Document { steps: vec![ActionDocument::Effective("/".to_owned()).into()], ..Document::default() };
    let scenario =
        Scenario::check(&document, &mut |_| unreachable!("it names no files")).expect("it is right");
    let mut play = scenario.play_on_kernel(&parent, &lock).expect("it can be played");
    assert_eq!(
        play.take_remarks(),
        ["a program that is not the scenario's runs for all of its accesses, and is not shown"]
    );
    let line = play.next().expect("a line").expect("it goes on");
    assert_eq!(line.to_json(), r#"{"step":0,"ok":true,"errno":null,"programs":[]}"#);
    Ok(())
}

pub(crate) fn linked_for_the_model() -> Result<(), Failed> {
    let parent = scratch();
    let lock = Scenario::lock_machine(|_| {}).expect("a lock");
    let text =
        r#"{"programs": {"p": {"object": "layout.bpf.o", "program": "layout"}}, "steps": [{"load": "p"}]}"#;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/objects/");
    let mut read = |file: &str| std::fs::read(format!("{directory}{file}"));
    let scenario = Scenario::parse(text, &mut read).expect("it is right");
    match scenario.play_on_kernel(&parent, &lock) {
        Err(KernelError::LinkedForTheModel { name }) => assert_eq!(name, "p"),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("played with the model's offsets".into()),
    }
    assert_eq!(parent.descendants().expect("cgroups"), []);
    let scenario = Scenario::parse_for(text, &mut read, LinkFor::Kernel(&RunningKernel::default()))
        .expect("it is right");
    let mut play = scenario.play_on_kernel(&parent, &lock).expect("it can be played");
    assert!(play.next().expect("a line").expect("it goes on").ok);
    Ok(())
}
