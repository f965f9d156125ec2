//! The verifier: what a program is held to before it may run. It models a part of kernel/bpf/verifier.c.
//!
//! [`decode`] makes steps of the instructions, and looks up what they refer to. [`structure`] checks the shape of the code:
//! where jumps lead, and what is unreachable. [`check`] then follows every path, and tracks what registers and stack may
//! hold; a path is cut short where it gets into a state that was [`explored`]. What each part of an instruction is held to
//! is in the files of its name. [`violation`] has the words for what is wrong.

mod alu;
mod arguments;
mod bits;
mod branch;
mod check;
mod control_flow;
mod decode;
mod dynptr;
mod env;
mod equivalence;
mod explored;
mod helper_call;
mod insn_fields;
mod memory;
mod precision;
mod register;
mod register_liveness;
mod rejection;
mod return_value;
mod scalar;
mod spin_lock;
mod stack;
mod stack_access;
mod stack_liveness;
mod state;
mod structure;
mod violation;
mod widening;

use knobgate_bpf::Program;

use self::check::Followed;
use self::decode::Decoded;
use crate::step::Step;
use crate::{LoadOptions, Map, Profile};

pub use insn_fields::MalformedInsn;
pub use rejection::Rejection;
pub use spin_lock::LockMisuse;
pub use violation::{Bounds, OutOfBounds, Violation};

/// Verifies a program with its maps, and decodes it.
pub(crate) fn verify(
    program: &Program,
    maps: &[Map],
    profile: &Profile,
    options: &LoadOptions,
) -> Result<Vec<Step>, Rejection> {
    let Decoded { code, rejected } = decode::decode(program, profile, options.expected_attach_type)?;
    let functions = structure::find_functions(&code)?;
    let follow = || {
        structure::check_control_flow(&code, &functions, profile)?;
        let env = env::VerifierEnv::new(program, profile, &code, &functions, maps, &rejected, options.cpus);
        let Followed { stack_depths, seen } = check::check(&env)?;
        structure::check_stack(&code, &functions, &stack_depths, profile)?;
        structure::check_remaining(&code, &functions, &seen)
    };
    // If the kernel does not take the names, the program is loaded without them. If that fails, too, the first error counts.
    follow().map_err(|error| structure::check_names(program, &functions).err().unwrap_or(error))?;
    Ok(code)
}
