//! `knobgate drift`: what sysctl.d sets, compared with the knobs of this machine.

mod conf_files;
mod text_report;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate_drift::{ConfiguredKnob, Drift as Report, DriftDocument, Here, Running, State, UnmatchedGlob};
use knobgate_kernel::knob_names;
use knobgate_policy::KnobName;
use knobgate_sysctl_conf::{Assignment, Assignments, Conf};

use crate::failure::{BAD, Failure, MACHINE, USAGE};
use crate::knob_value::KnobValue;
use crate::limited::is_stdin;
use crate::output::{Output, chain};
use crate::stream::memory_items::MemoryItems;
use crate::timestamp::boot_id;
use crate::{events_file, json, memories, settings_file};
use conf_files::ConfFiles;

/// Show where the knobs of this machine differ from what sysctl.d sets, and who wrote them last
///
/// Reads the files that systemd-sysctl reads at boot, in its order: those of /etc/sysctl.d, /run/sysctl.d, /usr/local/lib/sysctl.d,
/// /usr/lib/sysctl.d and /lib/sysctl.d by name, of which the first directory that has a name counts; later settings override
/// earlier ones. Or reads the files that are given, in the order in which they are given. Nothing is written.
///
/// Values are compared as the kernel prints them: numbers by value, whatever their notation. Knobs of namespaces, such as net.**
/// and kernel.hostname, are read in the namespaces of this process. Knobs whose values are secret are not read.
///
/// For a knob that differs, it shows the last write that the events know of, and whether that wrote the running value. Events are
/// what attached policies remember (see `knobgate log`), which takes root, and what --events has. Policies report what they deny
/// and rewrite, and what a rule allows with `log`.
///
/// Privileges: none; to know who wrote a knob: root, CAP_SYS_ADMIN.
///
/// Exit status: 0 if no knob differs; 1 if one does, or a line is wrong; 2 if a file cannot be read, or the arguments are wrong;
/// 3 if a knob cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Drift {
    /// sysctl.d files, or directories with such files, instead of those of this machine; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look for the directories below this one instead: the root of an image
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    root: Option<PathBuf>,
    /// Also look for writers in the events of a file that `watch --json` has written; `-` is standard input; can be repeated
    #[arg(long, value_name = "EVENTS")]
    events: Vec<PathBuf>,
    /// The format of the result
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  knobgate drift
  knobgate drift --format json | jq '.knobs[] | select(.state == \"differs\")'
  knobgate drift /etc/sysctl.d/99-web.conf
  knobgate drift --events events.jsonl";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The knobs that differ or cannot be compared, and how many there are
    Text,
    /// One JSON object with everything
    Json,
}

/// What was compared.
struct Compared {
    drift: Report,
    unmatched: Vec<UnmatchedGlob>,
}

/// What could not be read.
#[derive(Debug, Default)]
struct Problems {
    files: usize,
    lines: usize,
}

impl Drift {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let inputs = self.files.iter().chain(&self.events);
        if inputs.filter(|path| is_stdin(path)).count() > 1 {
            return Err(Failure::usage("only one file can be standard input"));
        }
        let files = match self.files.as_slice() {
            [] => ConfFiles::of_machine(self.root.as_deref().unwrap_or(Path::new("/")), output)?,
            files => ConfFiles::of_arguments(files),
        };
        let mut problems = Problems::default();
        let mut compared = compare(&files, &mut problems, output)?;
        for events in &self.events {
            events_file::for_each(events, output, |item| compared.drift.add(item))?;
        }
        if compared.drift.count(State::Differs) > 0 {
            self.add_memories(&mut compared.drift, output);
        }
        match self.format {
            Format::Text => text_report::print(&compared, files.len(), output)?,
            Format::Json => {
                output.line(json::line(&DriftDocument::new(&compared.drift, compared.unmatched)))?;
            }
        }
        let count = |state| compared.drift.count(state);
        Ok(ExitCode::from(match problems {
            Problems { files: 1.., .. } => USAGE,
            Problems { lines: 1.., .. } => BAD,
            _ if count(State::Differs) > 0 => BAD,
            _ if count(State::Unreadable) > 0 => MACHINE,
            _ => 0,
        }))
    }

    fn add_memories(&self, drift: &mut Report, output: &Output) {
        let added = memories::for_each(output, |name, _, memory| {
            let mut items = MemoryItems::new(name.as_str(), memory);
            items.all().iter().for_each(|item| drift.add(item));
        });
        if let Err(failure) = added {
            let from = if self.events.is_empty() { "no event is known" } else { "only --events is known" };
            output.note(format_args!(
                "cannot look into what attached policies remember, so {from}: {}",
                chain(&failure)
            ));
        }
    }
}

/// Compares what the files set with this machine.
fn compare(files: &ConfFiles, problems: &mut Problems, output: &Output) -> Result<Compared, Failure> {
    let mut assignments = Assignments::new();
    for (index, file) in files.iter().enumerate() {
        let conf = match file.read() {
            Ok(bytes) => Conf::parse(&bytes),
            Err(failure) => {
                problems.files += 1;
                output.failure(&failure);
                continue;
            }
        };
        problems.lines += conf.errors().len();
        for error in conf.errors() {
            settings_file::report_line_without_secrets(&file.name, error, output);
        }
        assignments.add(index, &conf);
    }
    let names = knob_names()
        .map_err(|error| Failure::machine("cannot list the knobs of this machine").because(error))?;
    let names: Vec<KnobName> = names.into_iter().filter_map(|name| KnobName::from_path(name).ok()).collect();
    let expanded = assignments.expand(&names);
    let file = |assignment: &Assignment<'_>| files.name(assignment.file).to_owned();
    let glob = |assignment: &Assignment<'_>| assignment.glob.map(ToString::to_string);
    let unmatched = expanded.unmatched.iter().map(|assignment| UnmatchedGlob {
        glob: glob(assignment).unwrap_or_default(),
        file: file(assignment),
        line: assignment.line,
    });
    let unmatched = unmatched.collect();
    let configured = expanded.knobs.into_iter().map(|(knob, assignment)| ConfiguredKnob {
        knob,
        value: assignment.value.to_owned(),
        file: file(&assignment),
        line: assignment.line,
        glob: glob(&assignment),
        ignores_errors: assignment.ignores_errors,
    });
    Ok(Compared { drift: Report::new(configured, running, here()), unmatched })
}

fn running(knob: &KnobName) -> Running {
    match KnobValue::read(knob) {
        KnobValue::Value(value) => Running::Value(value),
        KnobValue::NoSuchKnob => Running::NoSuchKnob,
        KnobValue::WriteOnly => Running::WriteOnly,
        KnobValue::Unreadable(error) => Running::Unreadable(error.to_string()),
    }
}

/// This boot, and the namespaces of this process.
fn here() -> Here {
    let inode = |name: &str| {
        let metadata = fs::metadata(Path::new("/proc/self/ns").join(name)).ok()?;
        u32::try_from(metadata.ino()).ok()
    };
    let mut here = Here { boot_id: boot_id(), ..Here::default() };
    let namespaces = &mut here.namespaces;
    (namespaces.net, namespaces.uts) = (inode("net"), inode("uts"));
    (namespaces.ipc, namespaces.user) = (inode("ipc"), inode("user"));
    namespaces.pid = inode("pid");
    here
}
