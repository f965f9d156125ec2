//! Compiles a policy to a BPF program for the kernel's `cgroup/sysctl` hook.
//!
//! In: a policy ([`knobgate_policy::Policy`], or [`knobgate_policy::PolicyFile`] with its text) and what the kernel
//! that will run it can do ([`knobgate_bpf::Features`]). Out: a [`knobgate_bpf::Program`] that decides every access as
//! [`knobgate_policy::evaluate`] does, and a list of what it decides more strictly because that kernel cannot do better
//! ([`Degradation`]).
//!
//! | stage | makes |
//! | --- | --- |
//! | `analyse` | the IR of the policy: which rules can match which names, and the order in which they are tried |
//! | `ir` | the policy as data: a plan of names for each kind of access, and rules as decision graphs and actions, with their constants hoisted. It knows no BPF |
//! | `layout` | the place of everything: which steps share a block, which conditions are inlined and which are data for the interpreter, tables |
//! | `codegen` | instructions, including those that only the verifier needs |
//!
//! The words:
//!
//! - A **step** tries one rule, and names the step that follows if the condition of the rule does not hold. Steps form
//!   **chains**. Chains with the same end share it.
//! - A **plan** leads from a name to the first step. Names are in one **class** if the same rules match them.
//! - Steps that differ only in their constants share a **block** of code, and each has a **row** of data with its own.
//! - A condition is **inlined** in its block, or it is data for an **interpreter**, which runs in a loop. If inlining all
//!   conditions is too much for the verifier, those of the first rules of long chains are interpreted.
//! - When a chain starts, the values that its rules look at are *fetched*. One pass of a DFA finds the **shape** of each:
//!   text, or a list of numbers and how many.
//!
//! ```
//! use knobgate_bpf::Features;
//! use knobgate_policy::{CheckOptions, Source, parse};
//!
//! let text = "policy web\nallow write net.core.somaxconn if new <= 65535\n";
//! let file = parse(Source::new("web.knob", text), &CheckOptions::default()).unwrap();
//! let compiled = knobgate_compiler::compile(&file, &Features::BASELINE).unwrap();
//! assert!(compiled.program().insns.len() > 100);
//! ```
#![forbid(unsafe_code)]

mod analyse;
mod codegen;
mod compiled;
#[cfg(test)]
mod equivalence;
mod error;
mod event_past;
mod event_paths;
mod events;
mod ir;
mod layout;
mod program;
mod rule_hits;
mod source;

use knobgate_bpf::{AsmError, Features, LineTable, Program};
use knobgate_policy::limits::{SHORT_VALUE_MAX, VALUE_MAX};

use codegen::{CostModel, Emitted};
use ir::Ir;
use layout::{Inlining, Layout};

pub use compiled::{Compiled, Effect};
pub use error::{CompileError, Degradation, INSTRUCTIONS_MAX};
pub use event_past::{EVENT_PAST_MAP, EVENT_PAST_MAX, PastCounters};
pub use event_paths::{cgroup_path_in_value, cgroup_path_value};
pub use events::{
    EVENT_ACTIVE_MAP, EVENT_CGROUP_PATH_BYTES, EVENT_CGROUPS_MAP, EVENT_CGROUPS_MAX, EVENT_COUNTERS_MAP,
    EVENT_KEYS_MAX, EVENT_LOST_MAP, EVENT_OTHERS_MAP, EVENT_READERS_MAP, EVENT_READERS_MAX, EVENT_SLOTS_MAP,
    EVENT_STATE_MAP, EVENTS_FIRST_MAP, EVENTS_MAP, EVENTS_RECENT, EventCounters, EventOptions, MemoryState,
    event_reader_maps, last_place, memory_map, policy_number,
};
pub use program::POLICY_TEXT_MAP;
pub use rule_hits::{Counted, Counter, RULE_HITS_MAP, RuleHits};
pub use source::PolicySource;

/// Compiles a policy, or a policy file, for a kernel with these features.
///
/// # Errors
/// The policy is too large for a program, or needs something that the kernel does not have; see
/// [`CompileError`].
pub fn compile<'a>(
    policy: impl Into<PolicySource<'a>>,
    features: &Features,
) -> Result<Compiled, CompileError> {
    compile_source(&policy.into(), features, None)
}

/// As [`compile`], and the program sends [events](knobgate_events) as the policy asks for. The kernel needs ring buffers, arrays of
/// maps and queues (Linux 5.10).
///
/// # Errors
/// Those of [`compile`].
pub fn compile_with_events<'a>(
    policy: impl Into<PolicySource<'a>>,
    features: &Features,
    events: &EventOptions,
) -> Result<Compiled, CompileError> {
    compile_source(&policy.into(), features, Some(events))
}

fn compile_source(
    source: &PolicySource<'_>,
    features: &Features,
    events: Option<&EventOptions>,
) -> Result<Compiled, CompileError> {
    let ir = analyse::analyse(source.policy(), events.is_some())?;
    let model = CostModel::new(source, &ir, features, events);
    let inlining = Inlining::choose(&ir, features, |rule| model.of_block(rule));
    match compile_ir(source, &ir, (features, events), inlining) {
        // The estimate is right within a factor of two, and how far jumps are is known when all code is there.
        Err(
            CompileError::TooMuchToVerify { .. }
            | CompileError::TooManyInstructions { .. }
            | CompileError::Assemble(AsmError::TooManyFarJumps { .. }),
        ) if features.bpf_loop && inlining != Inlining::NONE => {
            compile_ir(source, &ir, (features, events), Inlining::NONE)
        }
        done => done,
    }
}

/// As [`compile`], but inlines the conditions of the last `inlined` rules of each chain, and has the others as data. For
/// tests with small policies.
///
/// # Errors
/// Those of [`compile`].
#[doc(hidden)]
pub fn compile_inlining<'a>(
    policy: impl Into<PolicySource<'a>>,
    features: &Features,
    inlined: usize,
) -> Result<Compiled, CompileError> {
    let source = policy.into();
    let ir = analyse::analyse(source.policy(), false)?;
    compile_ir(&source, &ir, (features, None), Inlining::of_last(inlined))
}

fn compile_ir(
    source: &PolicySource<'_>,
    ir: &Ir,
    (features, events): (&Features, Option<&EventOptions>),
    inlining: Inlining,
) -> Result<Compiled, CompileError> {
    codegen::check_operands(ir, features)?;
    let layout = Layout::new(ir, features, inlining)?;
    let long_values = layout.has_long_values(features).then(codegen::long_values_map);
    let Emitted { code, degradations, verifier_steps } =
        codegen::emit(source, ir, &layout, features, events)?;
    if code.insns.len() > INSTRUCTIONS_MAX {
        return Err(CompileError::TooManyInstructions { rule: ir.rule_count.saturating_sub(1) });
    }
    let program = Program {
        name: source.policy().name().to_owned(),
        insns: code.insns,
        maps: program::maps(source, layout.into_table_bytes(), long_values, events.is_some()),
        relocations: code.relocations,
        functions: code.functions,
        lines: LineTable { file: source.name().to_owned(), entries: code.lines },
        ..Program::default()
    };
    let value_max = if features.long_values() { VALUE_MAX } else { SHORT_VALUE_MAX };
    Ok(Compiled { program, degradations, verifier_steps, value_max, rules: ir.rule_count })
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    #[test]
    fn conditions_become_data_if_blocks_that_are_not_shared_are_too_much() {
        // If stack has to be stored before it is read, rules for `a` and for `b` share no blocks.
        let or = |i: usize| (0..i).map(|j| format!(" or pos == {j}")).collect::<String>();
        let mut rules: Vec<String> =
            (1..=545).map(|i| format!("deny write a.x{i}, b.x{i} if uid == 7{}", or(i))).collect();
        rules.extend(["allow write a.* if gid == 1".to_owned(), "allow write b.* if old == 1".to_owned()]);
        let text = format!("policy p\n{}\n", rules.join("\n"));
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let features = Features { uninit_stack: false, ..Features::ALL };
        let compiled = compile(&file, &features).expect("fits as data");
        assert!(compiled.verifier_steps < 50_000, "{}", compiled.verifier_steps);
    }

    /// Whether some conditions are data.
    fn interprets(compiled: &Compiled) -> bool {
        compiled.program().functions.iter().any(|function| function.name.starts_with("test"))
    }

    fn steps(rule: impl Fn(usize) -> String, rules: usize) -> (usize, bool) {
        let rules: Vec<String> = (1..=rules).map(rule).collect();
        let text = format!("policy p\n{}\n", rules.join("\n"));
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let compiled = compile(&file, &Features::ALL).expect("within the limits");
        (compiled.verifier_steps(), interprets(&compiled))
    }

    #[test]
    fn what_a_program_pays_once_does_not_count_for_each_block() {
        let (steps, interprets) = steps(|i| format!("clamp write vm.x to 1..{i} if uid == {i}"), 300);
        assert!(!interprets && steps < INSTRUCTIONS_MAX / 4, "{steps}");
    }

    #[test]
    fn conditions_become_data_if_that_lets_expensive_actions_share_a_block() {
        let (steps, interprets) =
            steps(|i| format!("clamp write net.ipv4.tcp_mem to [1..2, 1.., ..2, -1..2] if uid == {i}"), 250);
        assert!(interprets && steps < INSTRUCTIONS_MAX / 4, "{steps}");
    }

    #[test]
    fn the_estimate_of_inlined_conditions_grows_as_the_verifiers_work_within_a_factor_of_two() {
        let on_both = |condition: &str, i: usize| format!("allow write vm.x, vm.y if {condition} {i}");
        let errnos = ["EPERM", "EACCES", "EIO", "EROFS"];
        let on_some = |i: usize| {
            let is_on = |name: &usize| (i * 2_654_435_761) >> name & 1 == 0;
            let names: Vec<String> = (0..16).filter(is_on).map(|name| format!("vm.x{name}")).collect();
            format!("deny({}) write vm.x, {} if uid == {i}", errnos[i % 4], names.join(", "))
        };
        let chain = |action: &str, i: usize| format!("{action} if uid == {i} or gid == {}", i + 1);
        let policies: [(&str, &dyn Fn(usize) -> String); 7] = [
            ("two chains that share their blocks", &|i| on_both("pos ==", i)),
            ("of numbers", &|i| on_both("new ==", i)),
            ("blocks with many next ones", &on_some),
            ("one chain", &|i| chain("allow write vm.x", i)),
            ("that sets", &|i| chain("set write vm.x to \"1\"", i)),
            ("that clamps", &|i| chain("clamp write vm.x to 1..2", i)),
            ("of texts", &|i| format!("allow write vm.x if old == \"{i}\"")),
        ];
        for (what, rule) in policies {
            for features in [Features::ALL, Features { uninit_stack: false, ..Features::ALL }] {
                let [few, many] = [20, 220].map(|rules| {
                    let rules: Vec<String> = (20..20 + rules).map(rule).collect();
                    // So that the chains of the two names have different ends.
                    let text = format!("policy p\n{}\nallow write vm.x if gid == 1\n", rules.join("\n"));
                    let file =
                        parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
                    let ir = analyse::analyse(file.policy(), false).expect("few patterns");
                    let model = CostModel::new(&PolicySource::from(&file), &ir, &features, None);
                    let estimate = layout::Estimate::new(&ir, &features, |rule| model.of_block(rule));
                    let compiled = compile_inlining(&file, &features, usize::MAX).expect("within the limits");
                    [estimate.by_height.iter().sum(), compiled.verifier_steps()]
                });
                let (estimated, real) = (many[0] - few[0], many[1] - few[1]);
                assert!((real / 2..=real * 2).contains(&estimated), "{what}: {estimated}, in fact {real}");
            }
        }
    }

    #[test]
    fn conditions_stay_inlined_if_data_would_save_little() {
        let bounds = ["1..2", "1..", "..2", "-1..2"];
        let bound = |i: usize, place: u32| bounds[i / 4usize.pow(place) % 4];
        let rules: Vec<String> = (0..200)
            .map(|i| {
                let ranges: Vec<&str> = (0..4).map(|place| bound(i, place)).collect();
                format!("clamp write vm.x{i} to [{}] if uid == {i}", ranges.join(", "))
            })
            .collect();
        let text = format!("policy p\n{}\n", rules.join("\n"));
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let compiled = compile(&file, &Features::ALL).expect("within the limits");
        assert!(compiled.verifier_steps > INSTRUCTIONS_MAX / 2);
        assert!(!interprets(&compiled));
    }
}
