//! `knobgate watch`: show events.

mod live;
mod recorded;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate::Observer;
use knobgate_kernel::{Cgroup, Hierarchy};

use crate::attachment_names::named;
use crate::cgroup_argument::cgroup_at;
use crate::failure::Failure;
use crate::filter_argument;
use crate::load_failure::cannot_load;
use crate::output::Output;
use crate::stream::column::Column;
use crate::stream::printer::{Format, Printer};
use crate::target::{Target, WORKLOADS, WorkloadArgs};
use crate::workload_filter;

/// Show events: who accessed which knob, with the verdict and the rule
///
/// One line an event: the time (in UTC), the verdict, the access with the values, what runs in the cgroup, the task, and the
/// policy with the line of the rule. DENY, REWRITE and ALLOW say what a policy did; WOULD-DENY and WOULD-REWRITE, what it
/// would have done if it were not in audit mode. OBSERVED means that --all saw an access, and programs that decided after that did
/// not report it. DENIED-BEFORE means that a program that ran earlier had denied the access.
/// SUPPRESSED counts the events that a rule did not send because of its limit (`log(10/s)`), and LOST those that came faster
/// than they were read. What is not known is left out. On a terminal, long values are shortened.
///
/// With --all, it answers the question who changes the knobs of this machine, without any policy.
///
/// With --container, --unit or --pod, only the events of these workloads are shown, also of those that start later or are gone, by the
/// names that events have. With --all, the observer is then on that workload.
///
/// Only events that happen while the command runs are shown. `knobgate log` shows what a policy remembers of earlier ones.
///
/// Privileges: root, CAP_SYS_ADMIN; with --from: none.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Watch {
    /// The attachments whose events are shown; without a name, all of them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also show the writes that no policy reports: put an observer on the root of all cgroups while this runs, which allows
    /// everything and changes nothing
    #[arg(long, conflicts_with_all = ["names", "from"])]
    all: bool,
    /// With --all: on this cgroup instead; a path in the file system, or relative to the root of the hierarchy
    #[arg(long, value_name = "PATH", requires = "all", conflicts_with_all = WORKLOADS)]
    cgroup: Option<PathBuf>,
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// With --all: reads as well
    #[arg(long, requires = "all")]
    reads: bool,
    /// Show the events of a file that `watch --json` has written, without root; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    from: Option<PathBuf>,
    /// Show only events for which this holds, such as `verdict == deny and knob matches net.**`, and those for which it
    /// cannot be evaluated
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// End after this many of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,
    /// Print these fields, with tabs in between; what is not known is empty
    #[arg(
        long,
        value_name = "FIELD",
        value_delimiter = ',',
        hide_possible_values = true,
        conflicts_with = "json"
    )]
    fields: Option<Vec<Column>>,
}

const EXAMPLES: &str = "\
Fields, for --fields and --filter:
  type time verdict outcome errno access knob old new stored pos pid tid uid gid comm policy attachment rule line
  cgroup cgroup_id container container_id pod namespace image unit netns utsns ipcns userns pidns mntns mode
  (--fields also has count, of suppressed and lost events; --filter does not have time and count, and writes would_deny
  where --fields prints would-deny)

Examples:
  knobgate watch
  knobgate watch web --json > events.jsonl
  knobgate watch --all
  knobgate watch --all --filter 'outcome == denied'
  knobgate watch --container web
  knobgate watch --from events.jsonl
  knobgate watch --from events.jsonl --filter 'verdict == deny and not knob matches net.**'
  knobgate watch --from events.jsonl --fields time,comm,pid,knob,new";

impl Watch {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let names = self.names.iter().map(|name| named(name)).collect::<Result<Vec<_>, Failure>>()?;
        let format = match self.fields {
            Some(fields) => Format::Fields(fields),
            None if self.json => Format::Json,
            None => Format::Text,
        };
        let place = if self.all { self.workloads.find_one("an observer is on one cgroup")? } else { None };
        let workloads = match self.from {
            Some(_) => workload_filter::recorded(&self.workloads),
            None => workload_filter::here(&self.workloads, output)?,
        };
        let filter = match filter_argument::parse_both(workloads, self.filter, output) {
            Ok(filter) => filter.map(|(_, filter)| filter),
            Err(status) => return Ok(status),
        };
        let printer = Printer::new(output, format, filter, self.count);
        match self.from {
            Some(file) => recorded::show(&file, printer, output),
            None => {
                let cgroup = match (self.cgroup, place) {
                    (Some(path), _) => Some(cgroup_at(&path)?),
                    (None, place) => place.as_ref().map(Target::open).transpose()?,
                };
                let observer = if self.all { Some(observe(cgroup, self.reads, output)?) } else { None };
                live::show(names, observer, printer, output)
            }
        }
    }
}

/// Puts an observer on a cgroup, and says what that costs.
fn observe(cgroup: Option<Cgroup>, reads: bool, output: &Output) -> Result<Observer, Failure> {
    let cannot = || Failure::machine("cannot observe");
    // Without the privilege, nobody can find out what programs can do.
    if let Some(why) = cannot_load() {
        return Err(cannot().because(why));
    }
    let cgroup = match cgroup {
        Some(cgroup) => cgroup,
        None => Hierarchy::find()
            .and_then(|hierarchy| hierarchy.root())
            .map_err(|error| cannot().because(error))?,
    };
    output.note(format_args!(
        "an observer is on {} while this runs; as with any program of this kind, all accesses to /proc/sys on this machine take \
         longer meanwhile, reads by about 40 % and writes by about 60 %",
        cgroup.path().display()
    ));
    Observer::attach(cgroup, reads).map_err(|error| cannot().because(error))
}
