//! Failures to load a program, and what to do about them.

use knobgate_compiler::CompileError;
use knobgate_kernel::{Capabilities, LoadError};
use knobgate_policy::PolicyFile;

use crate::failure::Failure;
use crate::output::chain;

/// The user's program could not be loaded. [`Failure::Bad`] if the program is at fault, otherwise [`Failure::Machine`].
/// Without a privilege, the verifier's rejection does not tell.
pub(crate) fn program_failure(what: String, error: LoadError) -> Failure {
    let permitted = || Capabilities::of_this_process().is_ok_and(Capabilities::can_load);
    let is_bad = match error {
        LoadError::StorageMismatch { .. } => true,
        LoadError::Rejected { .. } | LoadError::TooLarge { .. } => permitted(),
        _ => false,
    };
    load_failure(if is_bad { Failure::bad(what) } else { Failure::machine(what) }, error)
}

/// A policy could not be compiled. [`Failure::Machine`] if this kernel does not support it, [`Failure::Bad`] if it is
/// too large.
pub(crate) fn compile_failure(file: &PolicyFile, error: CompileError) -> Failure {
    let place = error.rule().and_then(|rule| file.rule_place(rule));
    let place = place.map_or_else(|| file.source().name().to_owned(), |place| place.to_string());
    let what = format!("{place}: cannot compile the policy");
    let CompileError::NotOnThisKernel { .. } = error else { return Failure::bad(what).because(error) };
    match cannot_load() {
        // Programs are loaded to find it out.
        Some(why) => Failure::machine(what).because(format!("what this kernel can do is not known: {why}")),
        None => Failure::machine(what).because(error),
    }
}

/// Why this process cannot load programs, and what to do about it; `None` if it can.
pub(crate) fn cannot_load() -> Option<String> {
    let capabilities =
        Capabilities::of_this_process().ok().filter(|capabilities| !capabilities.can_load())?;
    let lacks: Vec<String> = capabilities.lacks_for_loading().map(|one| one.to_string()).collect();
    Some(match &lacks[..] {
        [] => "this process is in a user namespace, where its capabilities do not count; run knobgate outside this container, or \
             with a BPF token if there is one for this user namespace (--bpf-token)"
            .to_owned(),
        lacks => format!("this process lacks {} to load programs; run knobgate as root", lacks.join(", ")),
    })
}

/// `failure` because of `error`, with what to do about it.
pub(crate) fn load_failure(failure: Failure, error: LoadError) -> Failure {
    let capabilities = Capabilities::of_this_process().ok();
    let permitted = capabilities.is_none_or(Capabilities::can_load);
    let help = match error {
        LoadError::Rejected { .. } if !permitted => {
            "; without CAP_PERFMON the verifier rejects programs that it otherwise accepts: run knobgate as root"
        }
        LoadError::NotPermitted { .. }
            if capabilities.is_some_and(|one| !one.in_initial_user_namespace()) =>
        {
            "; run knobgate outside this container, or with a BPF token if there is one for this user namespace (--bpf-token), or \
             try the policy without the kernel: knobgate explain"
        }
        LoadError::NotPermitted { .. } => {
            "; run knobgate as root, or try the policy without the kernel: knobgate explain"
        }
        _ => "",
    };
    if help.is_empty() { failure.because(error) } else { failure.because(format!("{}{help}", chain(&error))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_storage_of_a_tail_call_target_is_the_programs_fault() {
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
