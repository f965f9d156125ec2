//! `knobgate explain`: what a policy decides about one access, or whether it applies to a process, and why.

mod current_value;
mod escapes;
mod json_answer;
mod text_answer;
mod trace;
mod workload;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgGroup;
use knobgate_policy::engine_writes::{self, EngineWrite};
use knobgate_policy::limits::COMM_MAX;
use knobgate_policy::{Access, AccessKind, DecidedBy, EvalError, KnobName, KnobNetns, PolicyFile, Task};
use knobgate_policy_test::{DecideError, Decided, PolicyTest, PolicyTestError, Profile};

use crate::failure::Failure;
use crate::knob_value::KnobValue;
use crate::output::Output;
use crate::policy_file::load_policy;
use crate::target::{TARGETS, Target, TargetArgs};
use crate::{not_compiled, report};
use current_value::CurrentValue;
use trace::Trace;
use workload::Selection;

/// Explain what a policy decides about one read or write, or whether it applies to a process, and why
///
/// The access is decided twice: by the definition of the language, and by the compiled program on the hook in user
/// space. It needs no kernel and no privileges, and writes nothing. Exit status: 0 whatever the answer, 1
/// if the policy has errors, 2 if the arguments are wrong, 4 if the language and the program disagree, which is a bug in
/// knobgate.
///
/// With --pid, --cgroup, --container, --unit or --pod instead of an access, it shows which `apply if` of the policy holds for the
/// container or unit that this is or is in, and who chooses what that looks at.
///
/// Privileges: none.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, group = ArgGroup::new("target").args(TARGETS).multiple(true).conflicts_with_all(ACCESS))]
pub(crate) struct Explain {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The kind of access
    #[arg(required_unless_present = "target")]
    kind: Option<KindArgument>,
    /// The knob, as `net.core.somaxconn` or `net/core/somaxconn`
    #[arg(required_unless_present = "target")]
    knob: Option<OsString>,
    /// The bytes to write: `\n`, `\t`, `\r`, `\0`, `\xHH` and `\\` are escapes, and no newline is added
    #[arg(allow_hyphen_values = true)]
    value: Option<OsString>,
    /// The current value, with the same escapes; by default the value on this machine, if it can be read
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    old: Option<OsString>,
    /// The file position, in bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pos: u64,
    /// The real user id of the task, in the initial user namespace
    #[arg(long, value_name = "N", default_value_t = 0)]
    uid: u32,
    /// The real group id of the task, in the initial user namespace
    #[arg(long, value_name = "N", default_value_t = 0)]
    gid: u32,
    /// The name of the task, of which the kernel keeps 15 bytes; empty by default
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    comm: OsString,
    /// The network namespace that owns the knob, if it is one below net: of the host, or another one; unknown by default
    #[arg(long, value_name = "WHICH")]
    netns: Option<NetnsArgument>,
    /// The kernel to compile for and to model, such as 6.8 or 6.12.94; what it cannot do is denied
    #[arg(long, value_name = "KERNEL", default_value = Profile::LINUX_6_18.name)]
    profile: Profile,
    #[command(flatten)]
    target: TargetArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  knobgate explain --policy web.knob write net.core.somaxconn '9999999\\n'
  knobgate explain --policy web.knob write vm.max_map_count 65530 --old 262144
  knobgate explain --policy web.knob read kernel.ostype --uid 1000
  knobgate explain --policy web.knob --pid 4711
  knobgate explain --policy web.knob --container shop-web-1";

/// The ids of the arguments about an access for clap.
const ACCESS: [&str; 10] = ["kind", "knob", "value", "old", "pos", "uid", "gid", "comm", "netns", "profile"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum KindArgument {
    Read,
    Write,
}

/// A network namespace, as in `test` blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NetnsArgument {
    Host,
    Other,
}

/// The parts of the answer.
struct Answer<'a> {
    file: &'a PolicyFile,
    access: &'a Access,
    current: &'a CurrentValue,
    profile: &'a Profile,
    decided: Decided,
    trace: Trace,
}

/// What engines write to the knob themselves, if this is a write.
fn engine_writes(answer: &Answer<'_>) -> impl Iterator<Item = &'static EngineWrite> {
    let access = answer.access;
    let to_knob = engine_writes::all().iter().filter(|write| write.access().knob == access.knob);
    to_knob.filter(|_| access.kind() == AccessKind::Write)
}

impl Explain {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if let Some(target) =
            self.target.find_one("explain shows whether a policy applies to one workload")?
        {
            return self.applies(&target, output);
        }
        let (access, current) = self.access(output)?;
        let file = load_policy(&self.policy, output)?;
        let decided = self.decide(&file, &access, output)?;
        if let DecidedBy::EvalError { error: EvalError::NoNetns, .. } = decided.decision.by {
            output.note("state the network namespace of the knob with --netns host or --netns other");
        }
        let trace = Trace::of(file.policy(), &access, decided.decision.by);
        let (access, current, profile) = (&access, &current, &self.profile);
        let answer = Answer { file: &file, access, current, profile, decided, trace };
        output.line(if self.json { json_answer::line(&answer) } else { text_answer::lines(&answer) })?;
        Ok(ExitCode::SUCCESS)
    }

    fn applies(&self, target: &Target, output: &Output) -> Result<ExitCode, Failure> {
        let file = load_policy(&self.policy, output)?;
        let workload = workload::workload_of(target)?;
        let selection = Selection::of(&file, target, &workload);
        output.line(if self.json { selection.json() } else { selection.text() })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Has the hook in user space decide it.
    fn decide(&self, file: &PolicyFile, access: &Access, output: &Output) -> Result<Decided, Failure> {
        let mut test = PolicyTest::new(file, &self.profile).map_err(|error| match error {
            PolicyTestError::Compile { source, .. } => {
                let diagnostic = not_compiled::diagnostic(&source, file, self.profile);
                output.report(report::render(&diagnostic, file.source()));
                Failure::Reported
            }
            PolicyTestError::NoLinks(_) => Failure::usage(error.to_string()),
            _ => Failure::bug(format!("{}: cannot run the policy", file.source().name())).because(error),
        })?;
        test.decide(access).map_err(|undecided| match undecided {
            DecideError::Mismatch(mismatch) => {
                let what = format!("{}: language and program disagree about {access}", file.source().name());
                Failure::bug(what).because(mismatch)
            }
            undecided => Failure::usage(format!("no policy applies to {access}")).because(undecided),
        })
    }

    fn access(&self, output: &Output) -> Result<(Access, CurrentValue), Failure> {
        // Both are there without a target.
        let (kind, written) = self
            .kind
            .zip(self.knob.as_ref())
            .ok_or_else(|| Failure::usage("an access has a kind and a knob"))?;
        if let (KindArgument::Write, None, Some((knob, value))) = (kind, &self.value, assignment(written)) {
            let instead = format!("write `{knob} '{value}\\n'`: sysctl(8) adds the newline");
            let failure = Failure::usage("the knob and its VALUE are two arguments");
            return Err(failure.because(instead));
        }
        let knob = knob(written, output)?;
        knob.check_is_sysctl().map_err(|error| Failure::usage(error.to_string()).because(error.help()))?;
        let new = match (kind, &self.value) {
            (KindArgument::Read, None) => None,
            (KindArgument::Write, Some(value)) => Some(unescape("VALUE", value)?),
            (KindArgument::Read, Some(_)) => return Err(Failure::usage("a read has no VALUE")),
            (KindArgument::Write, None) => {
                return Err(Failure::usage(
                    "a write needs a VALUE: the bytes that are written, such as '10\\n'",
                ));
            }
        };
        let current = match &self.old {
            Some(old) => CurrentValue::Given(unescape("--old", old)?),
            None => CurrentValue::OfThisMachine(KnobValue::read(&knob)),
        };
        if let CurrentValue::OfThisMachine(KnobValue::NoSuchKnob) = current {
            output.note(format_args!("this machine has no knob {knob}"));
        }
        let mut comm = self.comm.clone().into_vec();
        if comm.len() > COMM_MAX {
            comm.truncate(COMM_MAX);
            let kept = String::from_utf8_lossy(&comm);
            output.note(format_args!("the kernel keeps {COMM_MAX} bytes of a task's name: \"{kept}\""));
        }
        let old = current.bytes().map(<[u8]>::to_vec);
        let task = Task::default().uid(self.uid).gid(self.gid).comm(comm);
        let knob_netns = self.netns.map(|netns| match netns {
            NetnsArgument::Host => KnobNetns::Host,
            NetnsArgument::Other => KnobNetns::Other,
        });
        if knob_netns.is_some() && !knob.is_below_net() {
            return Err(Failure::usage(format!(
                "{knob} is no knob of a network namespace, and so has no --netns"
            )));
        }
        Ok((Access { knob, new, old, pos: self.pos, knob_netns, task }, current))
    }
}

/// `KNOB=VALUE`, as for `sysctl -w`.
fn assignment(knob: &OsStr) -> Option<(&str, &str)> {
    let (knob, value) = knob.to_str()?.split_once('=')?;
    Some((knob.trim_end(), value.trim_start()))
}

fn knob(written: &OsStr, output: &Output) -> Result<KnobName, Failure> {
    let name = if let Ok(below) = Path::new(written).strip_prefix("/proc/sys") {
        KnobName::from_path(below.as_os_str().as_bytes()).inspect(|name| {
            output.note(format_args!("knobs are named by their path below /proc/sys: {name}"));
        })
    } else {
        KnobName::parse(written.as_bytes())
    };
    name.map_err(|error| {
        let help = error.kind.help().map(|help| format!(" ({help})")).unwrap_or_default();
        Failure::usage(format!("`{}` names no knob", written.display())).because(format!("{error}{help}"))
    })
}

fn unescape(argument: &str, text: &OsString) -> Result<Vec<u8>, Failure> {
    escapes::unescape(text.as_bytes())
        .map_err(|error| Failure::usage(format!("cannot read {argument}")).because(error))
}
