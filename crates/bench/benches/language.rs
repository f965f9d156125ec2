//! Text to program: parse, check, evaluate, compile.
#![forbid(unsafe_code)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use knobgate_bench::PolicyText;
use knobgate_bpf::Features;
use knobgate_policy::{Access, CheckOptions, KnobName, Source, Task, evaluate, parse};

const RULES: [usize; 3] = [100, 1_000, 10_000];

fn main() {
    divan::main();
}

/// Rules per second.
#[divan::bench(args = RULES)]
fn parse_and_check(bencher: Bencher<'_, '_>, rules: usize) {
    let text = PolicyText::of_literals(rules, "read write", "").text();
    bencher
        .counter(ItemsCount::new(rules))
        .bench(|| parse(Source::new("bench.knob", black_box(text.as_str())), &CheckOptions::default()));
}

/// Rules per second.
#[divan::bench(args = RULES)]
fn parse_and_check_conditions(bencher: Bencher<'_, '_>, rules: usize) {
    let text = PolicyText::of_literals(rules, "write", " if old <= new <= 1_048_576").text();
    bencher
        .counter(ItemsCount::new(rules))
        .bench(|| parse(Source::new("bench.knob", black_box(text.as_str())), &CheckOptions::default()));
}

/// Rules per second.
#[divan::bench(args = RULES)]
fn compile_literals(bencher: Bencher<'_, '_>, rules: usize) {
    compile(bencher, &PolicyText::of_literals(rules, "read write", ""), rules);
}

/// Rules per second.
#[divan::bench(args = RULES)]
fn compile_conditions(bencher: Bencher<'_, '_>, rules: usize) {
    compile(bencher, &PolicyText::of_literals(rules, "write", " if old <= new <= 1_048_576"), rules);
}

/// Rules per second.
#[divan::bench(args = [10, 100, 1_000])]
fn compile_globs(bencher: Bencher<'_, '_>, rules: usize) {
    compile(bencher, &PolicyText::of_globs(rules, "read write"), rules);
}

fn compile(bencher: Bencher<'_, '_>, policy: &PolicyText, rules: usize) {
    let file = policy.parsed();
    bencher
        .counter(ItemsCount::new(rules))
        .bench(|| knobgate_compiler::compile(black_box(&file), &Features::ALL));
}

/// Accesses per second, past all rules.
#[divan::bench(args = RULES)]
fn evaluate_a_miss(bencher: Bencher<'_, '_>, rules: usize) {
    let file = PolicyText::of_literals(rules, "read write", "").parsed();
    let access = Access {
        knob: KnobName::parse("net.core.somaxconn").expect("a knob"),
        new: Some(b"4096\n".to_vec()),
        old: Some(b"128\n".to_vec()),
        pos: 0,
        knob_netns: None,
        task: Task::default(),
    };
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| evaluate(black_box(file.policy()), black_box(&access)));
}
