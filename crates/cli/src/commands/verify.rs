//! `knobgate verify`: the kernel's verdict on a program, without attaching it.

mod json_line;
mod report;

use std::collections::HashSet;
use std::process::ExitCode;

use clap::ValueEnum;
use knobgate::CompiledPolicy;
use knobgate_bpf::Program;
use knobgate_kernel::{
    Capabilities, LoadOptions, LogLevel, Verification, VerifierLog, VerifierVerdict, verify,
};

use crate::bpf_token::BpfTokenArgs;
use crate::failure::{BAD, Failure};
use crate::load_failure::{compile_failure, program_failure};
use crate::output::Output;
use crate::program_source::{ProgramSource, ProgramSourceArgs};

/// Run the kernel's verifier on a program, without attaching it
///
/// The policy is compiled for this kernel as in `attach`, or the program is taken from the object, and loaded. The
/// output shows how much work the program was for the verifier, or why it was rejected, with the line of the source. In
/// an object, all programs for this hook are verified unless you name one. The program is not attached, and does not
/// stay in the kernel.
///
/// Privileges: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON; with --bpf-token, those of a user namespace are enough.
///
/// Exit status: 0 if all are accepted; 1 if one is rejected, or the policy has errors or is too large; 2 if the
/// arguments are wrong or a file cannot be read; 3 if this machine cannot verify it, because a privilege or the hook is
/// missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(mut_arg("program", |arg| arg.help("The program in the object; by default all programs for this hook")))]
pub(crate) struct Verify {
    #[command(flatten)]
    what: ProgramSourceArgs,
    #[command(flatten)]
    token: BpfTokenArgs,
    /// Print the whole log of the verifier, not only its end: of the path that was rejected, or of all paths
    #[arg(long, value_name = "PATHS", num_args = 0..=1, require_equals = true, default_missing_value = "rejected")]
    log: Option<Paths>,
    /// Print JSON: one object a line, for each program
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  knobgate verify --policy web.knob
  knobgate verify --object mine.bpf.o
  knobgate verify --object mine.bpf.o --program watch --log=all";

/// The paths through a program that the log contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Paths {
    /// The one that was rejected
    Rejected,
    /// All that the verifier explored
    All,
}

/// A program, and the verifier's result.
struct Verified<'a> {
    what: &'a ProgramSource,
    verification: Verification,
}

impl Verify {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let all = self.what.read_all(output)?;
        self.token.apply(output)?;
        let mut seen = HashSet::new();
        let mut is_rejected = false;
        for what in &all {
            for verification in self.ask(what, output)? {
                // The target of a tail call is verified as a separate program.
                if !seen.insert(verification.program.clone()) {
                    continue;
                }
                is_rejected |= matches!(verification.verdict, VerifierVerdict::Rejected(_));
                let verified = Verified { what, verification };
                if self.json {
                    output.line(json_line::line(&verified, self.log.is_some()))?;
                } else {
                    report::print(&verified, self.log.is_some(), output)?;
                }
            }
        }
        Ok(ExitCode::from(if is_rejected { BAD } else { 0 }))
    }

    fn ask(&self, what: &ProgramSource, output: &Output) -> Result<Vec<Verification>, Failure> {
        match what {
            ProgramSource::Policy(file) => {
                let compiled =
                    CompiledPolicy::compile(&**file).map_err(|error| compile_failure(file, error))?;
                let asked = self.ask_of(compiled.program(), what)?;
                for limit in compiled.limits() {
                    output.warning(limit);
                }
                Ok(asked)
            }
            ProgramSource::Object { program, .. } => self.ask_of(program, what),
        }
    }

    fn ask_of(&self, program: &Program, what: &ProgramSource) -> Result<Vec<Verification>, Failure> {
        // The log of all paths of the largest programs takes hundreds of megabytes. The kernel accepts buffers of up to
        // a gigabyte.
        const LONGEST_LOG: usize = 512 << 20;
        let level = self.log.map(|paths| match paths {
            Paths::Rejected => LogLevel::Path,
            Paths::All => LogLevel::AllPaths,
        });
        let options = match self.log {
            Some(_) => LoadOptions { log_limit: LONGEST_LOG, ..LoadOptions::default() },
            None => LoadOptions::default(),
        };
        let cannot = |error| program_failure(format!("cannot verify {what}"), error);
        let asked = verify(program, &options, level).map_err(cannot)?;
        let may_load = Capabilities::of_this_process().map_or(true, Capabilities::can_load);
        asked
            .into_iter()
            .map(|verification| match verification.verdict {
                // A rejection for lack of privileges says nothing about the program.
                VerifierVerdict::Rejected(rejection) if !may_load => Err(cannot(rejection.into_error())),
                _ => Ok(verification),
            })
            .collect()
    }
}

impl Verified<'_> {
    /// The policy or the object.
    fn file(&self) -> String {
        match self.what {
            ProgramSource::Policy(file) => file.source().name().to_owned(),
            ProgramSource::Object { path, .. } => path.display().to_string(),
        }
    }

    fn kind(&self) -> &'static str {
        match self.what {
            ProgramSource::Policy(_) => "policy",
            ProgramSource::Object { .. } => "program",
        }
    }

    /// The name of the program; for a policy its full name, of which the kernel may keep less.
    fn name(&self) -> &str {
        match self.what {
            ProgramSource::Policy(_) => self.what.name(),
            ProgramSource::Object { .. } => &self.verification.program,
        }
    }

    fn log(&self) -> Option<&VerifierLog> {
        match &self.verification.verdict {
            VerifierVerdict::Accepted { log, .. } => log.as_ref(),
            VerifierVerdict::Rejected(rejection) => rejection.error().log(),
        }
    }
}
