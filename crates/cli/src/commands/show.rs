//! `knobgate show`: show one attachment.

mod maps;

use std::path::Path;
use std::process::ExitCode;

use knobgate::{AttachedCgroup, AttachedPolicy, AttachmentState, OffBy, RuleCounters, versions_of};
use knobgate_kernel::{AttachmentName, LinkOrigin};
use knobgate_policy::{Mode, PolicyFile, Source};
use serde::Serialize;

use crate::attachment_names::{self, named};
use crate::cgroup_argument::describe;
use crate::failure::Failure;
use crate::json;
use crate::link_source;
use crate::off::{self, OffReason};
use crate::output::Output;
use crate::plural::{count, kib};
use crate::printable::{printable, printable_lines};
use crate::style::{DIM, HEADING};
use crate::timestamp;
use maps::ShownMap;

/// Show one attachment: its policy, its cgroups, its counters
///
/// Everything is read back from the kernel: the text is that of the policy in force, even if the file has changed.
///
/// DECIDED counts the accesses that a rule decided. EVAL ERRORS counts the accesses that were denied because the
/// rule could not be evaluated (text instead of a number, a value that is too long). Both count since the policy was
/// attached or last replaced, over all cgroups of the attachment.
///
/// For a program that does not belong to a policy: the file that it came from, if knobgate attached it, and its maps.
///
/// Privileges: root, CAP_SYS_ADMIN.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The name of the attachment, or of a policy for containers, of which all versions are shown
    name: String,
    /// Print one JSON object; for each version of a policy for containers, one on a line
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let (attachments, names) = attachment_names::find(named(&self.name)?)?;
        let off = off::shown(output);
        for (index, name) in names.iter().enumerate() {
            let shown = Shown::new(name, attachments.read(name)?, off.of(name));
            if self.json {
                output.line(json::line(&shown))?;
            } else {
                if index > 0 {
                    output.line("")?;
                }
                shown.print(output)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    /// None if all of them have been removed.
    cgroups: Vec<ShownCgroup>,
    /// Whether it is that of a policy for containers, and stays without any cgroup.
    for_containers: bool,
    /// Whether it is a program that is pinned for systemd, which attaches it.
    for_systemd: bool,
    /// Why it is off; `null` if it is not.
    off: Option<OffReason>,
    #[serde(skip)]
    off_text: Option<String>,
    program: u32,
    program_name: String,
    loaded_by_uid: u32,
    loaded_at: String,
    /// How many bytes of the kernel's memory the program and its maps take; `null` if it was detached just now.
    memory: Option<u64>,
    policy: Option<String>,
    mode: Option<&'static str>,
    /// The rules, then the default for reads and that for writes.
    rules: Vec<ShownRule>,
    /// `null` if it is not a policy.
    text: Option<String>,
    /// The file that it came from, if it is not a policy and knobgate attached it.
    object: Option<String>,
    /// Its full name in that file.
    object_program: Option<String>,
    /// The maps of a program that is not a policy.
    maps: Vec<ShownMap>,
}

/// A cgroup that the attachment is on.
#[derive(Debug, Serialize)]
struct ShownCgroup {
    /// `null` if it is not visible here.
    cgroup: Option<String>,
    cgroup_id: u64,
    link: u32,
    /// Who made the link: `hand`, `agent`, `hook`, `nri`, `unknown`.
    source: &'static str,
    /// Whether there were processes in the cgroup when the link was made.
    late: bool,
    #[serde(skip)]
    origin: LinkOrigin,
    /// The same for all, unless a replace was interrupted.
    program: u32,
}

impl From<AttachedCgroup> for ShownCgroup {
    fn from(cgroup: AttachedCgroup) -> Self {
        Self {
            cgroup: cgroup.path.map(|path| path.display().to_string()),
            cgroup_id: cgroup.id,
            link: cgroup.link_id,
            source: cgroup.origin.source.as_str(),
            late: cgroup.origin.late,
            origin: cgroup.origin,
            program: cgroup.program_id,
        }
    }
}

impl ShownCgroup {
    fn describe(&self) -> String {
        describe(self.cgroup_id, self.cgroup.as_deref().map(Path::new))
    }
}

#[derive(Debug, Serialize)]
struct ShownRule {
    line: Option<usize>,
    rule: String,
    decided: u64,
    eval_errors: u64,
}

impl From<RuleCounters> for ShownRule {
    fn from(RuleCounters { line, text, decided, eval_errors, .. }: RuleCounters) -> Self {
        Self { line, rule: text, decided, eval_errors }
    }
}

impl Shown {
    fn new(name: &AttachmentName, state: AttachmentState, off: Option<OffBy>) -> Self {
        let memory = state.memory().ok().map(|memory| memory.bytes());
        let AttachmentState { cgroups, is_pinned, program, policy, origin, maps, .. } = state;
        let (origin, maps) = match policy {
            Some(_) => (None, Vec::new()),
            None => (origin, maps::shown(&maps)),
        };
        let meaning = policy.as_ref().and_then(AttachedPolicy::file).map(PolicyFile::policy);
        Self {
            name: name.to_string(),
            cgroups: cgroups.into_iter().map(ShownCgroup::from).collect(),
            for_containers: is_pinned && versions_of(name).is_some(),
            for_systemd: is_pinned && versions_of(name).is_none(),
            off: off.as_ref().map(OffReason::from),
            off_text: off.as_ref().map(off::describe),
            program: program.id,
            program_name: program.name,
            loaded_by_uid: program.created_by_uid,
            loaded_at: timestamp::since_boot(program.loaded_at),
            memory,
            policy: meaning.map(|policy| policy.name().to_owned()),
            mode: meaning.map(|policy| match policy.mode() {
                Mode::Enforce => "enforce",
                Mode::Audit => "audit",
            }),
            rules: policy.iter().flat_map(AttachedPolicy::rule_counters).map(ShownRule::from).collect(),
            text: policy.map(|policy| policy.text().to_owned()),
            object: origin.as_ref().map(|origin| origin.path().to_owned()),
            object_program: origin.map(|origin| origin.program().to_owned()),
            maps,
        }
    }

    fn print(&self, output: &Output) -> Result<(), Failure> {
        let (place, link) = match &self.cgroups[..] {
            [] if self.for_containers => ("no cgroup now; it is for containers".to_owned(), String::new()),
            [] if self.for_systemd => {
                ("no cgroup of its own; it is pinned for systemd".to_owned(), String::new())
            }
            [] => ("no cgroup any more: all of them were removed".to_owned(), String::new()),
            [only] => {
                let origin = link_source::describe(only.origin);
                (only.describe(), format!(", link {}{origin}", only.link))
            }
            several => (count(several.len(), "cgroup"), String::new()),
        };
        output.line(format_args!("{HEADING}{}{HEADING:#} on {place}", self.name))?;
        if let Some(off) = &self.off_text {
            output.line(format_args!("  {}", printable(off)))?;
        }
        output.line(format_args!("  {}", self.what()))?;
        output.line(format_args!(
            "  program {} ({}){link}, loaded by uid {} at {}",
            self.program,
            printable(&self.program_name),
            self.loaded_by_uid,
            self.loaded_at
        ))?;
        if let Some(memory) = self.memory {
            output.line(format_args!("  memory {}", kib(memory)))?;
        }
        match &self.text {
            Some(text) => self.print_rules(text, output)?,
            None => maps::print(&self.maps, output)?,
        }
        if self.cgroups.len() > 1 {
            self.print_cgroups(output)?;
        }
        Ok(())
    }

    fn print_cgroups(&self, output: &Output) -> Result<(), Failure> {
        output.line(format_args!("\n{HEADING}     LINK  CGROUP{HEADING:#}"))?;
        for cgroup in &self.cgroups {
            let other = match cgroup.program {
                program if program == self.program => String::new(),
                program => format!(
                    " with program {program}: a previous replace was interrupted; attach to all of these again"
                ),
            };
            let origin = link_source::describe(cgroup.origin);
            let origin = if origin.is_empty() {
                origin
            } else {
                format!(" ({})", origin.trim_start_matches([',', ' ']))
            };
            output.line(format_args!("{:>9}  {}{origin}{other}", cgroup.link, cgroup.describe()))?;
        }
        Ok(())
    }

    /// What is attached, in a line.
    fn what(&self) -> String {
        let mode = match self.mode {
            Some("audit") => ", audit mode: everything passes",
            _ => "",
        };
        match (&self.text, &self.object, &self.object_program) {
            (Some(_), ..) => {
                let policy = self.policy.as_deref().unwrap_or("of an unknown version");
                format!("policy {}{mode}", printable(policy))
            }
            (None, Some(path), Some(program)) => {
                format!("program {} of {}", printable(program), printable(path))
            }
            _ => "a program that knobgate did not attach".to_owned(),
        }
    }

    fn print_rules(&self, text: &str, output: &Output) -> Result<(), Failure> {
        output.line(format_args!("\n{HEADING}  DECIDED  EVAL ERRORS  LINE  RULE{HEADING:#}"))?;
        for ShownRule { line, rule, decided, eval_errors } in &self.rules {
            let line = line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            output.line(format_args!(
                "{decided:>9}  {eval_errors:>11}  {line:>4}  {}",
                printable_lines(rule)
            ))?;
        }
        output.line("")?;
        // What the policy includes has no numbers: those above are of its own file.
        let source = Source::new("policy", text).with_restored_includes();
        let (mut start, mut last) = (0, 0);
        for whole in text.split_inclusive('\n') {
            let line = whole.lines().next().unwrap_or_default();
            let own = source.own_place(start + line.len()).line;
            let number = if own > last { own.to_string() } else { String::new() };
            output.line(format_args!("{DIM}{number:>4} |{DIM:#} {}", printable_lines(line)))?;
            (start, last) = (start + whole.len(), own);
        }
        Ok(())
    }
}
