//! From a policy to a program that this machine's kernel holds and will run.
//!
//! Every command that enforces a policy goes this way, so that none is ever in force less than it says: what
//! the kernel cannot do, the program denies instead, and the user is told.

use knobgate_compiler::{CompileError, Compiled, Degradation, compile};
use knobgate_kernel::{
    Capabilities, Cgroup, Hierarchy, LoadError, LoadOptions, LoadedProgram, Outcome, load, probe_cached,
};
use knobgate_policy::{Mode, PolicyFile};

use crate::failure::Failure;
use crate::output::Output;

/// Compiles the policy for this machine's kernel and loads it. Warns of what it does more strictly than the policy
/// says.
///
/// # Errors
/// [`Failure::Machine`] where this machine cannot enforce a policy, with what it lacks; [`Failure::Bad`] for a
/// policy that is too large.
pub(crate) fn load_into_kernel(file: &PolicyFile, output: &Output) -> Result<LoadedProgram, Failure> {
    let name = &file.policy().name;
    let cannot = || Failure::machine(format!("cannot enforce the policy \"{name}\""));
    Hierarchy::find().map_err(|error| cannot().because(error))?;
    // What cannot be probed for lack of a privilege or a feature is what loading fails for, with the better message.
    let probes = probe_cached();
    let features = probes.features();
    let Compiled { program, degradations } =
        compile(file, &features).map_err(|error| compile_failure(file, error))?;
    let loaded = load(&program, &LoadOptions::default()).map_err(|error| load_failure(cannot(), error))?;
    for degradation in degradations {
        output.warning(describe(degradation, file, &probes.set_new_value));
    }
    if file.policy().mode == Mode::Audit {
        output.note(format!("the policy \"{name}\" is in audit mode: it reports, and lets everything pass"));
    }
    Ok(loaded)
}

/// Makes sure that the kernel runs the program for what happens in the cgroup.
///
/// # Errors
/// [`Failure::Machine`] if it does not say so.
pub(crate) fn verify_in_force(loaded: &LoadedProgram, cgroup: &Cgroup) -> Result<(), Failure> {
    let place = cgroup.path().display();
    let unsure = || Failure::machine(format!("cannot make sure that the policy is in force on {place}"));
    let id = loaded.program.info().map_err(|error| unsure().because(error))?.id;
    if cgroup.effective().map_err(|error| unsure().because(error))?.contains(&id) {
        Ok(())
    } else {
        Err(unsure().because(format!("the kernel does not list program {id} among those that run there")))
    }
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

fn load_failure(failure: Failure, error: LoadError) -> Failure {
    let permitted = Capabilities::of_this_process().map_or(true, Capabilities::can_load);
    let help = match error {
        LoadError::Rejected { .. } if !permitted => {
            "; without CAP_PERFMON it refuses what it otherwise takes: run it as root"
        }
        LoadError::NotPermitted { .. } => {
            "; run it as root, or try the policy without the kernel: knobgate explain"
        }
        _ => "",
    };
    failure.because(format!("{error}{help}"))
}

/// What the kernel cannot do, and what happens instead. `rewrites` is whether rewriting has an effect.
fn describe(degradation: Degradation, file: &PolicyFile, rewrites: &Outcome) -> String {
    match degradation {
        Degradation::ErrnoIsEperm(errno) => format!(
            "this kernel lets no program choose the errno of a denial (Linux 5.18 does): denials with {errno} are \
             EPERM"
        ),
        Degradation::RewriteIsDenied { rule } if matches!(rewrites, Outcome::Unknown(_)) => format!(
            "{}: whether this kernel drops the values that programs put in the place of written ones is {rewrites}; where \
             `{}` would rewrite, it denies with EPERM",
            place(file, rule),
            text(file, rule),
        ),
        Degradation::RewriteIsDenied { rule } => format!(
            "{}: this kernel drops the values that programs put in the place of written ones (a bug of Linux 5.18 and \
             later, mended in 6.1.178, 6.12.96 and 7.2); where `{}` would rewrite, it denies with EPERM",
            place(file, rule),
            text(file, rule),
        ),
        Degradation::VectorClampIsDenied { rule } => format!(
            "{}: this kernel lets no program build a list of numbers; where `{}` would rewrite, it denies with EPERM",
            place(file, rule),
            text(file, rule),
        ),
        other => format!("this kernel cannot do all that the policy says, and denies instead: {other:?}"),
    }
}

fn place(file: &PolicyFile, rule: usize) -> String {
    let name = file.source().name();
    file.rule_line(rule).map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"))
}

fn text(file: &PolicyFile, rule: usize) -> &str {
    file.rule_text(rule).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::Features;
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    #[test]
    fn what_a_kernel_cannot_do_is_said_of_each_rule() {
        let text = "policy p\ndeny(EROFS) write kernel.**\nclamp write net.core.somaxconn to 1..2\n\
                    clamp write net.ipv4.tcp_mem to [1..2, 1..2]\n";
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let said_where = |features: &Features, rewrites: &Outcome| -> Vec<String> {
            let compiled = compile(&file, features).expect("a program");
            compiled
                .degradations
                .into_iter()
                .map(|degradation| describe(degradation, &file, rewrites))
                .collect()
        };
        let said = |features: &Features| said_where(features, &Outcome::No);
        assert_eq!(said(&Features::ALL), Vec::<String>::new());

        let all = said(&Features { set_new_value: false, set_retval: false, ..Features::ALL });
        let about = |part: &str| all.iter().filter(|line| line.contains(part)).count();
        assert_eq!(about("denials with EROFS are EPERM"), 1, "{all:?}");
        assert_eq!(about("p.knob:3: this kernel drops"), 1, "{all:?}");
        let unknown = Outcome::Unknown("no cgroup can be made".to_owned());
        let unsure = said_where(&Features { set_new_value: false, ..Features::ALL }, &unknown);
        assert!(unsure.iter().all(|line| line.contains("is unknown: no cgroup can be made")), "{unsure:?}");
        assert_eq!(about("`clamp write net.core.somaxconn to 1..2` would rewrite, it denies"), 1, "{all:?}");

        let lists = said(&Features { variable_stack: false, ..Features::ALL });
        let [list] = lists.as_slice() else { panic!("{lists:?}") };
        assert!(list.starts_with("p.knob:4: ") && list.contains("list of numbers"), "{list}");
    }
}
