//! Compiles a policy to a BPF program for the kernel's `cgroup/sysctl` hook.
//!
//! In: a checked policy with its text ([`knobgate_policy::PolicyFile`]) and what the kernel that will run it can do
//! ([`knobgate_bpf::Features`]). Out: a [`knobgate_bpf::Program`] that decides every access as
//! [`knobgate_policy::evaluate`] does, and a list of what it decides more strictly because that kernel cannot do
//! better ([`Degradation`]).
//!
//! The words:
//!
//! - a **class** of names is matched by the same rules;
//! - a **plan** says, for reads or for writes, which **chain** of rules is tried for which names: the rules that match
//!   them, in order, up to the first without a condition. Each rule in a chain is a **step**; chains that end alike
//!   share their ends. The **matcher** finds the first step of an access;
//! - a **body** is what a rule does, without its constants. Steps with equal bodies share a **block** of code, and each has
//!   a **row** of data with what is its own;
//! - a policy whose conditions are too much for the kernel's verifier as code gets another **form**: its conditions are data,
//!   **nodes** of one test each, which one loop goes through until it is known which step decides. Blocks then hold what
//!   steps do, and no conditions;
//! - a value is *fetched* when a chain begins of which some rule looks at it; one pass of an automaton finds its **shape**:
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

mod automaton;
mod blocks;
mod body;
mod chain;
mod compare;
mod condition;
mod context;
mod determinise;
mod effect;
mod error;
mod frame;
mod lookup;
mod lower;
mod matcher;
mod minimise;
mod names;
mod nodes;
mod pattern_tree;
mod perfect;
mod plan;
mod program;
mod rewrite;
mod routines;
mod shape;
mod short_number;
mod table;
mod tables;
mod walk;
mod width;

use knobgate_bpf::{Features, LineTable, Program};
use knobgate_policy::{AccessKind, PolicyFile};

use blocks::{Blocks, Form};
use body::Needs;
use chain::Steps;
use error::CODE_STEPS_MAX;
use lookup::Lookups;
use lower::Lowering;
use matcher::Matcher;
use names::Names;
use plan::Plan;
use routines::Routines;
use tables::Tables;

pub use effect::Effect;
pub use error::{CompileError, Degradation, INSTRUCTIONS_MAX};

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

/// Compiles a policy for a kernel with these features.
///
/// # Errors
/// The policy exceeds what a program can hold, or asks for something that the kernel does not have; see
/// [`CompileError`].
pub fn compile(file: &PolicyFile, features: &Features) -> Result<Compiled, CompileError> {
    let parts = Parts::new(file)?;
    match parts.compile(Form::Code, features) {
        Err(error) if error.is_of_size() && features.bpf_loop => parts.compile(Form::Table, features),
        done => done,
    }
}

/// As [`compile`] does with large policies, whatever the size: for tests of that form with small ones.
///
/// # Errors
/// As [`compile`].
#[doc(hidden)]
pub fn compile_as_table(file: &PolicyFile, features: &Features) -> Result<Compiled, CompileError> {
    Parts::new(file)?.compile(Form::Table, features)
}

/// What is the same in every form.
struct Parts<'a> {
    file: &'a PolicyFile,
    steps: Steps,
    plans: [Plan; 2],
}

impl<'a> Parts<'a> {
    fn new(file: &'a PolicyFile) -> Result<Self, CompileError> {
        let names = Names::new(file.policy())?;
        let mut steps = Steps::default();
        let plans = [AccessKind::Read, AccessKind::Write]
            .map(|kind| Plan::new(file.policy(), kind, &names, &mut steps));
        Ok(Self { file, steps, plans })
    }

    fn compile(&self, form: Form, features: &Features) -> Result<Compiled, CompileError> {
        let Self { file, steps, plans } = self;
        let entries = plans.iter().flat_map(Plan::entries).collect();
        let mut tables = Tables::default();
        let blocks = Blocks::new(form, file, features, steps, &entries, &mut tables)?;
        let mut lookups = Lookups::default();
        let matchers = plans.each_ref().map(|plan| Matcher::place(plan, &blocks, &mut lookups, &mut tables));
        let shape = (blocks.needs() != Needs::default()).then(|| tables.place(&shape::TABLE));

        let steps_max =
            if form == Form::Code && features.bpf_loop { CODE_STEPS_MAX } else { INSTRUCTIONS_MAX };
        let routines = Routines::new(shape);
        let mut lowering = Lowering::new(file, features, steps, &blocks, &tables, routines, steps_max);
        lowering.program(matchers.each_ref())?;
        let Lowering { asm, degradations, verifier_steps, .. } = lowering;
        let code = asm.finish(features.long_jump)?;
        let policy = file.policy();
        if code.insns.len() > INSTRUCTIONS_MAX {
            return Err(CompileError::TooManyInstructions { rule: policy.rules().len().saturating_sub(1) });
        }
        let program = Program {
            name: policy.name().to_owned(),
            insns: code.insns,
            maps: program::maps(file, tables.into_bytes()),
            relocations: code.relocations,
            functions: code.functions,
            lines: LineTable { file: file.source().name().to_owned(), entries: code.lines },
            rules: program::rules(file),
            ..Program::default()
        };
        Ok(Compiled { program, degradations, verifier_steps })
    }
}
