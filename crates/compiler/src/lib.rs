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
//! | `layout` | the place of everything: which steps share a block, which conditions are code and which are data, tables |
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
//! assert!(compiled.program.insns.len() > 100);
//! ```
#![forbid(unsafe_code)]

mod analyse;
mod codegen;
mod effect;
#[cfg(test)]
mod equivalence;
mod error;
mod ir;
mod layout;
mod program;
mod source;

use foldhash::HashMap;
use knobgate_bpf::{Features, LineTable, Program};

use codegen::{CostModel, Emitted};
use ir::{Action, Graph, Ir};
use layout::Layout;

pub use effect::Effect;
pub use error::{CompileError, Degradation, INSTRUCTIONS_MAX};
pub use program::{POLICY_TEXT_MAP, RULE_HITS_MAP};
pub use source::PolicySource;

/// A policy as a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// Where it is stricter than the policy, because of the kernel. Callers have to report this.
    pub degradations: Vec<Degradation>,
    /// About how many instructions the kernel's verifier will process, right within a factor of two. Its limit is
    /// [`INSTRUCTIONS_MAX`].
    pub verifier_steps: usize,
    /// How many rules the policy has.
    rules: usize,
}

/// How much work inlined conditions may be for the verifier.
struct InlineLimits {
    /// If all of them, with the rest of the program, are no more than this, all are inlined.
    all: usize,
    /// Else those are that together are no more than this.
    part: usize,
}

/// Half of the verifier's limit, since the estimate is right within a factor of two; and what takes it little time.
const INLINE_LIMITS: InlineLimits = InlineLimits { all: INSTRUCTIONS_MAX / 2, part: INSTRUCTIONS_MAX / 50 };

/// Compiles a policy, or a policy file, for a kernel with these features.
///
/// # Errors
/// The policy is too large for a program, or needs something that the kernel does not have; see
/// [`CompileError`].
pub fn compile<'a>(
    policy: impl Into<PolicySource<'a>>,
    features: &Features,
) -> Result<Compiled, CompileError> {
    let source = policy.into();
    let ir = analyse::analyse(source.policy())?;
    if !features.bpf_loop {
        return compile_ir(&source, &ir, features, usize::MAX);
    }
    let inlined = inlined(&ir, features, &INLINE_LIMITS);
    match compile_ir(&source, &ir, features, inlined) {
        // There is more than conditions, and equal rules that cannot share a block cost more than estimated.
        Ok(code) if code.verifier_steps > INLINE_LIMITS.all && inlined > 0 => {
            let data = compile_ir(&source, &ir, features, 0)?;
            Ok(if data.verifier_steps <= INLINE_LIMITS.all { data } else { code })
        }
        Err(error) if error.is_about_size() && inlined > 0 => compile_ir(&source, &ir, features, 0),
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
    compile_ir(&source, &analyse::analyse(source.policy())?, features, inlined)
}

/// How many rules at the end of each chain have their conditions inlined: all of them if that is not too much for the
/// verifier, else as many as cost little. So short chains are inlined, and long ones start as data.
fn inlined(ir: &Ir, features: &Features, limits: &InlineLimits) -> usize {
    let model = CostModel::new(ir, features);
    let mut cost_of: HashMap<&Graph, usize> = HashMap::default();
    // Rules that differ only in their constants, with the same number of steps after them, are emitted once.
    let mut by_height: Vec<HashMap<(&Graph, &Action), usize>> = Vec::new();
    for (id, step) in ir.reached_steps() {
        let height = ir.steps.height(id);
        let Some(rule) = ir.rule(step).filter(|rule| !rule.graph.nodes.is_empty()) else { continue };
        let cost = *cost_of.entry(&rule.graph).or_insert_with(|| model.of_condition(&rule.graph));
        by_height.resize_with(by_height.len().max(height + 1), HashMap::default);
        by_height[height].insert((&rule.graph, &rule.action), cost);
    }
    let costs: Vec<usize> = by_height.iter().map(|costs| costs.values().sum()).collect();
    if costs.iter().sum::<usize>() <= limits.all {
        return usize::MAX;
    }
    let mut total = 0;
    for (height, cost) in costs.iter().enumerate() {
        total += cost;
        if total > limits.part {
            return height;
        }
    }
    costs.len()
}

fn compile_ir(
    source: &PolicySource<'_>,
    ir: &Ir,
    features: &Features,
    inlined: usize,
) -> Result<Compiled, CompileError> {
    codegen::check_operands(ir, features)?;
    let layout = Layout::new(ir, features, inlined)?;
    let Emitted { code, degradations, verifier_steps } = codegen::emit(source, ir, &layout, features)?;
    if code.insns.len() > INSTRUCTIONS_MAX {
        return Err(CompileError::TooManyInstructions { rule: ir.rule_count.saturating_sub(1) });
    }
    let program = Program {
        name: source.policy().name().to_owned(),
        insns: code.insns,
        maps: program::maps(source, layout.into_table_bytes()),
        relocations: code.relocations,
        functions: code.functions,
        lines: LineTable { file: source.source().name().to_owned(), entries: code.lines },
        ..Program::default()
    };
    Ok(Compiled { program, degradations, verifier_steps, rules: ir.rule_count })
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    const NUMBERS: [&str; 3] = ["uid == 1", "uid == 1 or gid == 2", "uid == 1 or gid == 2 or pos == 3"];

    fn inlined_of(rules: &[String], limits: &InlineLimits) -> usize {
        let text = format!("policy p\n{}\n", rules.join("\n"));
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let ir = analyse::analyse(file.policy()).expect("few patterns");
        inlined(&ir, &Features::ALL, limits)
    }

    #[test]
    fn the_last_rules_of_a_chain_are_inlined_up_to_the_limit() {
        let chain: Vec<String> =
            NUMBERS.iter().map(|number| format!("allow write vm.x if {number}")).collect();
        let cost = |rules: &[String]| {
            // The least limit with which all of them are inlined.
            (0..1_000)
                .find(|&all| inlined_of(rules, &InlineLimits { all, part: 0 }) == usize::MAX)
                .expect("small")
        };
        let costs: Vec<usize> = (0..3).rev().map(|first| cost(&chain[first..])).collect();
        assert!(costs[0] > 0 && costs[0] < costs[1] && costs[1] < costs[2], "{costs:?}");
        for (part, expected) in [
            (0, 0),
            (costs[0] - 1, 0),
            (costs[0], 1),
            (costs[1] - 1, 1),
            (costs[1], 2),
            (costs[2] - 1, 2),
            (costs[2], 3),
        ] {
            let limits = InlineLimits { all: costs[2] - 1, part };
            // The default comes after the last rule.
            let expected = if expected == 0 { [0, 1] } else { [expected + 1; 2] };
            assert!(expected.contains(&inlined_of(&chain, &limits)), "{part} of {costs:?}");
        }
    }

    #[test]
    fn rules_that_share_a_block_count_once() {
        let rule = |i: usize| format!("allow write vm.x{i} if uid == {i}");
        let (one, many): (Vec<String>, Vec<String>) =
            ((0..1).map(rule).collect(), (0..100).map(rule).collect());
        let least = |rules: &[String]| {
            (0..1_000)
                .find(|&all| inlined_of(rules, &InlineLimits { all, part: 0 }) == usize::MAX)
                .expect("small")
        };
        assert_eq!(least(&one), least(&many));
    }

    #[test]
    fn conditions_become_data_if_fewer_blocks_are_shared_than_estimated() {
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
        assert!(compiled.verifier_steps > INLINE_LIMITS.all);
        assert!(!compiled.program.listing().to_string().contains("bpf_loop"));
    }
}
