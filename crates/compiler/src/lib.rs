//! Compiles a policy to a BPF program for the kernel's `cgroup/sysctl` hook.
//!
//! In: a checked policy with its text ([`knobgate_policy::PolicyFile`]) and what the kernel that will run it can do
//! ([`knobgate_bpf::Features`]). Out: a [`knobgate_bpf::Program`] that decides every access as
//! [`knobgate_policy::evaluate`] does, and a list of what it decides more strictly because that kernel cannot do
//! better ([`Degradation`]).
//!
//! The words:
//!
//! - a **class** of names is matched by the same rules; the *matcher* finds the class of a name, in a hash map of the names
//!   that rules spell out, or else by running an automaton over it;
//! - a **plan** says, for reads and for writes, which **chain** of rules is tried for which class: the rules that
//!   match its names, in order, up to the first without a condition. Chains that end alike share their ends;
//! - a value is *fetched* when a condition first needs it; one pass of another automaton finds its **shape**: text,
//!   or a list of so many numbers.
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
mod block;
mod chain;
mod compare;
mod condition;
mod context;
mod effect;
mod error;
mod frame;
mod lower;
mod matcher;
mod program;
mod rewrite;
mod routines;
mod shape;
mod table;
mod tables;

use knobgate_bpf::{Features, LineTable, Program};
use knobgate_policy::PolicyFile;

pub use effect::Effect;
pub use error::{CompileError, Degradation, INSTRUCTIONS_MAX};

/// A policy as a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// Where it is stricter than the policy, because the kernel cannot do better. Whoever attaches it has to say so.
    pub degradations: Vec<Degradation>,
}

/// Compiles a policy for a kernel with these features.
///
/// # Errors
/// The policy exceeds what a program can hold, or asks for something that the kernel does not have; see
/// [`CompileError`].
pub fn compile(file: &PolicyFile, features: &Features) -> Result<Compiled, CompileError> {
    let matcher = matcher::Matcher::new(file.policy())?;
    let names = matcher.literals_map();
    let tables = tables::Tables::new(shape::table(), program::NAMES + usize::from(names.is_some()));
    let mut lowering = lower::Lowering::new(file, features, tables);
    lowering.program(&matcher)?;
    let lower::Lowering { asm, tables, degradations, .. } = lowering;
    let code = asm.finish(features.long_jump)?;
    if code.insns.len() > INSTRUCTIONS_MAX {
        return Err(CompileError::TooManyInstructions { rule: file.policy().rules.len().saturating_sub(1) });
    }
    let program = Program {
        name: file.policy().name.clone(),
        insns: code.insns,
        maps: program::maps(file, names, tables.into_bytes()),
        relocations: code.relocations,
        functions: code.functions,
        lines: LineTable { file: file.source().name().to_owned(), entries: code.lines },
        rules: program::rules(file),
        ..Program::default()
    };
    Ok(Compiled { program, degradations })
}
