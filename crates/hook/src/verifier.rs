//! The verifier: what a program is held to before it may run. It models a part of kernel/bpf/verifier.c.
//!
//! [`decode`] makes steps of the instructions, and looks up what they refer to. [`structure`] checks the shape of the code:
//! where jumps lead, what is unreachable, what loops, how deep calls nest and how much stack they take. [`flow`] tracks
//! what registers and stack may hold, for what the program returns. What only the whole verifier would find (bounds of map
//! values, for example) ends a run instead, with a [`Fault`](crate::Fault).

mod bits;
mod branch;
mod decode;
mod effect;
mod flow;
mod paths;
mod rejection;
mod return_value;
mod scalar;
mod state;
mod structure;

use knobgate_bpf::Program;

use crate::Profile;
use crate::step::Step;

pub use rejection::Rejection;

/// Verifies a program and decodes it.
pub(crate) fn verify(
    program: &Program,
    profile: &Profile,
    expected_attach_type: u32,
) -> Result<Vec<Step>, Rejection> {
    let code = decode::decode(program, profile, expected_attach_type)?;
    let functions = structure::check(program, &code, profile)?;
    flow::check(&code, &functions, &effect::VerifierEnv::of(program, profile))?;
    Ok(code)
}
