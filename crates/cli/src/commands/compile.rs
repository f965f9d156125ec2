//! `knobgate compile`: compile a policy to an object file.

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate::{KernelLimit, TargetKernel};
use knobgate_bpf::{Features, write_object};
use knobgate_compiler::{CompileError, compile};
use knobgate_hook::Profile;

use crate::failure::Failure;
use crate::limited;
use crate::not_compiled;
use crate::output::Output;
use crate::policy_file::{self, load_policy};
use crate::report;

/// The features of every kernel that may run the object. Some of these kernels ignore replaced values.
const ANY_KERNEL: Features = Features { set_new_value: false, ..Features::BASELINE };

/// The name of these kernels in messages.
const SOME_KERNEL: &str = "a kernel that may run this object";

/// How to get a less strict object.
const FOR_ONE: &str =
    "this object is for every kernel since 5.7; use --profile KERNEL for a kernel that can do more";

/// Why an object cannot have such a rule.
const NOT_IN_OBJECTS: &str = "an object cannot look at `netns`, which the running kernel's BTF leads to: use attach or run with the policy itself";

/// Compile a policy to an ELF object, which other loaders can load too
///
/// The object has one program, in the section cgroup/sysctl. `bpftool prog load`, libbpf, and knobgate itself
/// (--object) can load it. It contains the text of the policy and the counters of its rules, so knobgate can show an
/// attached object like an attached policy.
///
/// Unlike `attach`, this does not probe the kernel that will run the program. By default the object is for every kernel
/// that knobgate works on, and denies what some of them cannot do, above all rewriting; with --profile it is for one
/// kernel. A warning reports everything that is denied for that reason.
///
/// Privileges: none.
///
/// Exit status: 0 if the object was written, 1 if the policy has errors or needs what the kernel does not have, 2 if
/// the arguments are wrong or a file cannot be read or written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Compile {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The object; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The kernel that will run it, such as 6.18 or 6.12.94; by default any kernel since 5.7
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
                "{profile} has no links for this hook, so no policy can be enforced there"
            )));
        }
        let file = load_policy(&self.policy, output)?;
        let kernel = self.profile.map_or(SOME_KERNEL.to_owned(), |profile| profile.to_string());
        // Where a kernel has what leads to the network namespace of a knob is only known when it runs.
        let features = self.profile.map_or(ANY_KERNEL, |profile| profile.features());
        let features = Features { knob_owner: None, ..features };
        let compiled = match compile(&file, &features) {
            Ok(compiled) => compiled,
            Err(error) => {
                let is_netns = matches!(error, CompileError::NotOnThisKernel { operand: "netns", .. });
                let kernel = if is_netns { "an object for any kernel".to_owned() } else { kernel };
                let diagnostic = not_compiled::diagnostic(&error, &file, kernel);
                output.report(report::render(&diagnostic, file.source()));
                if is_netns {
                    output.note(NOT_IN_OBJECTS);
                } else if matches!(error, CompileError::NotOnThisKernel { .. }) && self.profile.is_none() {
                    output.note(FOR_ONE);
                }
                return Err(Failure::Reported);
            }
        };
        let (program, degradations) = compiled.into_parts();
        if self.profile.is_none() && !degradations.is_empty() {
            output.note(FOR_ONE);
        }
        for degradation in degradations {
            output.warning(KernelLimit::new(degradation, &(&file).into(), &TargetKernel::Other(&kernel)));
        }
        let place = policy_file::name(&self.output);
        let bytes = write_object(&program)
            .map_err(|error| Failure::bug(format!("cannot compile {place} to an object")).because(error))?;
        if limited::is_stdin(&self.output) {
            output.raw(&bytes)?;
        } else {
            std::fs::write(&self.output, bytes)
                .map_err(|error| Failure::usage(format!("cannot write {place}")).because(error))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
