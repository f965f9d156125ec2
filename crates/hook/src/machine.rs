//! The machine that programs run on.
//!
//! A [`Program`] is admitted and decoded once, which makes a [`LoadedProgram`] of it; that one runs as often as one
//! likes. Registers hold numbers, or pointers that know what they point into; every access is checked against that,
//! and what the kernel's verifier would have refused ends the run with a [`Fault`] that says where and why.
//!
//! [`Program`]: knobgate_bpf::Program

pub(crate) mod arithmetic;
mod decode;
mod fault;
mod loaded;
pub(crate) mod memory;
mod run;
mod stack;
mod step;
mod surroundings;
mod trace;
mod value;

pub use fault::{Fault, Reason};
pub(crate) use loaded::CGROUP_SYSCTL;
pub use loaded::{LoadOptions, LoadedProgram, RunOptions};
pub(crate) use run::{Continuation, Machine};
pub(crate) use stack::FRAME_BYTES;
pub(crate) use step::Step;
pub use surroundings::Surroundings;
pub use trace::{TraceStep, Tracer};
pub use value::{Region, Value};
