//! Compiles a policy to a BPF program for the kernel's `cgroup/sysctl` hook.
//!
//! In: a policy ([`knobgate_policy::Policy`], or [`knobgate_policy::PolicyFile`] with its text) and what the kernel that will run it can do
//! ([`knobgate_bpf::Features`]). Out: a [`knobgate_bpf::Program`] that decides every access as
//! [`knobgate_policy::evaluate`] does, and a list of what it decides more strictly because that kernel cannot do
//! better ([`Degradation`]).
//!
//! | stage | makes |
//! | --- | --- |
//! | `analyse` | of the policy its IR: which rules can match which names, what to look at first to tell |
//! | `ir` | a policy as data: a plan of names for each kind of access, and rules as decision graphs and actions, with their constants hoisted. It knows no BPF |
//! | `layout` | what lies where: which steps share a block, which conditions are code and which are data, tables |
//! | `codegen` | instructions, and what the verifier needs to hear |
//!
//! The words:
//!
//! - A **step** is one rule that is tried, and the step after it if its condition does not hold. Steps make **chains**;
//!   chains that end in the same way share their ends.
//! - A **plan** leads from a name to the first step. Names are in one **class** if the same rules match them.
//! - Steps that differ only in their constants share a **block** of code, and each has a **row** of data with its own.
//! - A condition is **inlined** in its block, or it is data, which an **interpreter** runs in a loop. Where inlining all
//!   of them is too much for the verifier, the first rules of long chains are interpreted.
//! - A value is *fetched* when a chain starts of which some rule looks at it; one pass of a DFA finds its **shape**:
//!   text, or a list of so many numbers.
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
pub use source::PolicySource;

/// A policy as a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// Where it is stricter than the policy, because the kernel cannot do better. Whoever attaches it has to say so.
    pub degradations: Vec<Degradation>,
    /// About how many instructions the kernel's verifier will walk through, of the [`INSTRUCTIONS_MAX`] that it is willing
    /// to: right within a factor of two.
    pub verifier_steps: usize,
}

/// Conditions are in the code as long as that is at most so much work for the verifier: half of what it does, since the
/// estimate is right within a factor of two.
const INLINED_COST_MAX: usize = INSTRUCTIONS_MAX / 2;

/// Where it would be more, so much of them still is: what takes the verifier little time.
const PARTLY_INLINED_COST_MAX: usize = INSTRUCTIONS_MAX / 50;

/// Compiles a policy, by itself or with the file that it comes from, for a kernel with these features.
///
/// # Errors
/// The policy exceeds what a program can hold, or asks for something that the kernel does not have; see
/// [`CompileError`].
pub fn compile<'a>(
    policy: impl Into<PolicySource<'a>>,
    features: &Features,
) -> Result<Compiled, CompileError> {
    let source = policy.into();
    let ir = analyse::analyse(source.policy())?;
    let inlined = if features.bpf_loop { inlined(&ir, features) } else { usize::MAX };
    match compile_ir(&source, &ir, features, inlined) {
        Err(error) if error.is_about_size() && features.bpf_loop && inlined > 0 => {
            compile_ir(&source, &ir, features, 0)
        }
        done => done,
    }
}

/// As [`compile`], with the conditions of the last `inlined` rules of each chain in the code and those of others as data,
/// whatever the size of the policy: for tests of that with small ones.
///
/// # Errors
/// As [`compile`].
#[doc(hidden)]
pub fn compile_inlining<'a>(
    policy: impl Into<PolicySource<'a>>,
    features: &Features,
    inlined: usize,
) -> Result<Compiled, CompileError> {
    let source = policy.into();
    compile_ir(&source, &analyse::analyse(source.policy())?, features, inlined)
}

/// How many rules at the end of each chain have their conditions in the code: all of them if that is not too much for the
/// verifier, and else as many as cost little. What is common to all lookups is short chains.
fn inlined(ir: &Ir, features: &Features) -> usize {
    let model = CostModel::new(ir, features);
    let mut costs: HashMap<(&Graph, &Action), usize> = HashMap::default();
    // What is emitted once: rules that are equal but for their constants, with equally many steps after them.
    let mut by_height: Vec<HashMap<(&Graph, &Action), usize>> = Vec::new();
    let mut heights: HashMap<ir::StepId, usize> = HashMap::default();
    for (id, step) in ir.reached_steps() {
        let height = step.next().map_or(0, |next| heights[&next] + 1);
        heights.insert(id, height);
        let Some(rule) = ir.rule(step).filter(|rule| !rule.graph.nodes.is_empty()) else { continue };
        let key = (&rule.graph, &rule.action);
        let cost = *costs.entry(key).or_insert_with(|| model.of_rule(rule));
        by_height.resize_with(by_height.len().max(height + 1), HashMap::default);
        by_height[height].insert(key, cost);
    }
    let costs: Vec<usize> = by_height.iter().map(|costs| costs.values().sum()).collect();
    if costs.iter().sum::<usize>() <= INLINED_COST_MAX {
        return usize::MAX;
    }
    let mut left = PARTLY_INLINED_COST_MAX;
    costs.into_iter().take_while(|cost| left.checked_sub(*cost).map(|rest| left = rest).is_some()).count()
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
        rules: source.entries(),
        ..Program::default()
    };
    Ok(Compiled { program, degradations, verifier_steps })
}
