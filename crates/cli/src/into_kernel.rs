//! From a policy to a program that this machine's kernel holds and will run.
//!
//! Every command that enforces a policy goes this way, so that none is ever in force less than it says: what
//! the kernel cannot do, the program denies instead, and the user is told.

use knobgate_bpf::Program;
use knobgate_compiler::{CompileError, Compiled, compile};
use knobgate_kernel::{Capabilities, Hierarchy, LoadError, LoadOptions, LoadedProgram, load, probe_cached};
use knobgate_policy::{Mode, PolicyFile};

use crate::degradation::{self, Kernel, place};
use crate::failure::Failure;
use crate::output::Output;

/// Compiles the policy for this machine's kernel and loads it. Warns of what it does more strictly than the policy
/// says.
///
/// # Errors
/// [`Failure::Machine`] where this machine cannot enforce a policy, with what it lacks; [`Failure::Bad`] for a
/// policy that is too large.
pub(crate) fn load_into_kernel(file: &PolicyFile, output: &Output) -> Result<LoadedProgram, Failure> {
    let name = file.policy().name();
    let cannot = || Failure::machine(format!("cannot enforce the policy \"{name}\""));
    Hierarchy::find().map_err(|error| cannot().because(error))?;
    let (program, warnings) = compile_for_this_kernel(file)?;
    let loaded = load(&program, &LoadOptions::default()).map_err(|error| load_failure(cannot(), error))?;
    for warning in warnings {
        output.warning(warning);
    }
    if file.policy().mode() == Mode::Audit {
        output.note(format!("the policy \"{name}\" is in audit mode: it reports, and lets everything pass"));
    }
    Ok(loaded)
}

/// Compiles the policy for this machine's kernel. Also what it then does more strictly than the policy says.
///
/// # Errors
/// [`Failure::Machine`] where this kernel cannot have the policy; [`Failure::Bad`] for one that is too large.
pub(crate) fn compile_for_this_kernel(file: &PolicyFile) -> Result<(Program, Vec<String>), Failure> {
    // What cannot be probed for lack of a privilege or a feature is what loading fails for, with the better message.
    let probes = probe_cached();
    let Compiled { program, degradations, .. } =
        compile(file, &probes.features()).map_err(|error| compile_failure(file, error))?;
    let kernel = Kernel::Running { rewrites: &probes.set_new_value };
    let warnings =
        degradations.into_iter().map(|degradation| degradation::warning(degradation, file, &kernel));
    Ok((program, warnings.collect()))
}

/// Loads a program that is none of ours.
///
/// # Errors
/// [`Failure::Bad`] where it is the program's fault, [`Failure::Machine`] where this machine cannot run any.
pub(crate) fn load_program(program: &Program) -> Result<LoadedProgram, Failure> {
    let what = format!("cannot put the program \"{}\" in force", program.name);
    Hierarchy::find().map_err(|error| Failure::machine(&what).because(error))?;
    load(program, &LoadOptions::default()).map_err(|error| program_failure(what, error))
}

/// That a program that is none of ours was not loaded. A verifier that lacks a privilege says nothing of the program.
pub(crate) fn program_failure(what: String, error: LoadError) -> Failure {
    let permitted = || Capabilities::of_this_process().is_ok_and(Capabilities::can_load);
    let is_bad = match error {
        LoadError::StorageMismatch { .. } => true,
        LoadError::Rejected { .. } | LoadError::TooLarge { .. } => permitted(),
        _ => false,
    };
    load_failure(if is_bad { Failure::bad(what) } else { Failure::machine(what) }, error)
}

fn compile_failure(file: &PolicyFile, error: CompileError) -> Failure {
    let place = error.rule().map_or_else(|| file.source().name().to_owned(), |rule| place(file, rule));
    let what = format!("{place}: cannot compile the policy");
    match error {
        CompileError::NotOnThisKernel { .. } => Failure::machine(what),
        _ => Failure::bad(what),
    }
    .because(error)
}

/// `failure` because of `error`, with what to do about it.
fn load_failure(failure: Failure, error: LoadError) -> Failure {
    let capabilities = Capabilities::of_this_process().ok();
    let permitted = capabilities.is_none_or(Capabilities::can_load);
    let help = match error {
        LoadError::Rejected { .. } if !permitted => {
            "; without CAP_PERFMON it refuses what it otherwise takes: run it as root"
        }
        LoadError::NotPermitted { .. }
            if capabilities.is_some_and(|one| !one.in_initial_user_namespace()) =>
        {
            "; run it outside this container, or try the policy without the kernel: knobgate explain"
        }
        LoadError::NotPermitted { .. } => {
            "; run it as root, or try the policy without the kernel: knobgate explain"
        }
        _ => "",
    };
    failure.because(format!("{error}{help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_that_only_the_called_program_has_is_the_programs_fault() {
        let name = |name: &str| name.to_owned();
        let foreign =
            LoadError::StorageMismatch { program: name("calls"), callee: name("called"), map: name("m") };
        let denied = LoadError::NotPermitted {
            program: name("calls"),
            capabilities: None,
            source: std::io::Error::from_raw_os_error(1),
        };
        assert!(matches!(program_failure(name("x"), foreign), Failure::Bad { .. }));
        assert!(matches!(program_failure(name("x"), denied), Failure::Machine { .. }));
    }
}
