//! What a program is held to before it may run: the part of the kernel's verifier that is modelled.
//!
//! [`structure`] looks at the shape of the code: where jumps lead, what is never reached, what loops, how deep calls go
//! and how much stack they take. [`flow`] follows what registers and stack may hold, for what the program returns.
//! What only the whole verifier would find (bounds of map values, say) ends a run instead, with a
//! [`Fault`](crate::Fault).

mod bits;
mod branch;
mod effect;
mod flow;
mod paths;
mod rejection;
mod scalar;
mod state;
mod structure;

use knobgate_bpf::Program;

use crate::Profile;
use crate::machine::Step;

pub use rejection::Rejection;

/// Checks a decoded program.
pub(crate) fn check(program: &Program, code: &[Step], profile: &Profile) -> Result<(), Rejection> {
    let functions = structure::check(program, code, profile)?;
    flow::check(code, &functions, &effect::Around { profile, maps: &program.maps })
}
