//! The machine that programs run on.
//!
//! A [`LoadedProgram`] is a program that the [verifier](crate::Rejection) has accepted; it can run any number of times.
//! Registers hold numbers, or pointers that know what they point into. Every access is checked against that, and whatever
//! the whole verifier of the kernel would have rejected ends the run with a [`Fault`] that says where and why.

mod coverage;
mod fault;
mod helpers;
mod interpreter;
mod kernel_memory;
mod loaded_program;
mod memory;
mod run;
mod run_env;
mod stack;
mod trace;
mod value;

pub(crate) use helpers::is_valid_format;
pub(crate) use kernel_memory::room_for;
pub(crate) use stack::stack_granularity;

pub use coverage::Coverage;
pub use fault::{Fault, Reason};
pub use loaded_program::{LoadOptions, LoadedProgram};
pub use run::RunOptions;
pub use run_env::RunEnv;
pub use trace::{TraceStep, Tracer};
pub use value::{Region, Value};
