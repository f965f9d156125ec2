//! `knobgate compile`: a policy as an object file.

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate::{Kernel, KernelLimit};
use knobgate_bpf::{Features, write_object};
use knobgate_compiler::{CompileError, Compiled, compile};
use knobgate_hook::Profile;

use crate::failure::Failure;
use crate::limited;
use crate::not_compiled;
use crate::output::Output;
use crate::policy_file::{self, load_policy};
use crate::report;

/// What every kernel does that an object may come to: those that drop what programs put in the place of a written value
/// among them.
const ANY_KERNEL: Features = Features { set_new_value: false, ..Features::BASELINE };

/// What messages call the kernels that an object may come to.
const SOME_KERNEL: &str = "a kernel that the object may come to";

/// How to get more out of it.
const FOR_ONE: &str =
    "this object is for every kernel since 5.7; --profile KERNEL makes one for a kernel that can do more";

/// Compile a policy to an ELF object, which other loaders take too
///
/// The object has one program, in the section cgroup/sysctl; `bpftool prog load` takes it, libbpf, and knobgate itself
/// with --object. The text of the policy and the counters of its rules are in it: knobgate shows them of an attached
/// object as it does of a policy.
///
/// Unlike a policy that is attached, an object is made without a look at the kernel that will run it. By default it is
/// made for every kernel that knobgate works on, and denies what some of them cannot do, rewriting above all; with
/// --profile it is made for one kernel. What it denies for that reason is said.
///
/// Exit status: 0 if the object was written, 1 if the policy has errors or asks for what the kernel does not have, 2 if
/// the arguments make no sense or a file cannot be read or written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Compile {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The object; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The kernel that it is made for, such as 6.18 or 6.12.94; by default it runs on all since 5.7
    #[arg(long, value_name = "KERNEL")]
    profile: Option<Profile>,
}

const EXAMPLES: &str = "Examples:
  knobgate compile --policy web.knob -o web.bpf.o
  bpftool prog load web.bpf.o /sys/fs/bpf/web
  knobgate attach --object web.bpf.o --cgroup system.slice/web.service";

impl Compile {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if let Some(profile) = self.profile.filter(|profile| !profile.links) {
            return Err(Failure::usage(format!(
                "{profile} has no links for this hook; no policy is put in force there"
            )));
        }
        let file = load_policy(&self.policy, output)?;
        let kernel = self.profile.map_or(SOME_KERNEL.to_owned(), |profile| profile.to_string());
        let features = self.profile.map_or(ANY_KERNEL, |profile| profile.features());
        let Compiled { program, degradations, .. } = match compile(&file, &features) {
            Ok(compiled) => compiled,
            Err(error) => {
                let diagnostic = not_compiled::diagnostic(&error, &file, kernel);
                output.report(report::render(&diagnostic, file.source()));
                if matches!(error, CompileError::NotOnThisKernel { .. }) && self.profile.is_none() {
                    output.note(FOR_ONE);
                }
                return Err(Failure::Reported);
            }
        };
        if self.profile.is_none() && !degradations.is_empty() {
            output.note(FOR_ONE);
        }
        for degradation in degradations {
            output.warning(KernelLimit::new(degradation, &file, &Kernel::Other(&kernel)));
        }
        let place = policy_file::name(&self.output);
        let bytes = write_object(&program)
            .map_err(|error| Failure::bug(format!("cannot make an object of {place}")).because(error))?;
        if limited::is_stdin(&self.output) {
            output.raw(&bytes)?;
        } else {
            std::fs::write(&self.output, bytes)
                .map_err(|error| Failure::usage(format!("cannot write {place}")).because(error))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
