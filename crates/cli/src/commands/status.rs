//! `knobgate status`: how things are with the agent, and what is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::process::ExitCode;

use knobgate::{AttachmentError, Attachments, Off};
use knobgate_agent::{AskError, PolicyStatus, Severity, Status};
use knobgate_kernel::{BpffsError, LinkSource};
use serde::Serialize;

use crate::failure::{BAD, Failure, MACHINE};
use crate::json;
use crate::off::what_since;
use crate::output::{Output, chain};
use crate::plural::{count, kib};
use crate::printable::printable;
use crate::style::{DENY, HEADING, REWRITE};
use crate::timestamp;

/// Show how things are with the agent, and what is in force
///
/// Asks the agent: its policies, on how many cgroups each is, and how much of the kernel's memory it takes; what is off; which
/// cgroups got their policy late, and for which it cannot be told whether one applies; and what the agent reported last.
///
/// Without an agent, it shows what is in force all the same: policies need no agent to stay so.
///
/// Privileges: root.
///
/// Exit status: 0 if the agent works; 1 if it does, but the files have errors, so that what is in force may not be what they say; 3
/// without an agent, or if it does not answer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct StatusCommand {
    /// Print one JSON object: what the agent answers, and what is in force
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  knobgate status
  knobgate status --json | jq .agent.policies";

impl StatusCommand {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let agent = Status::ask();
        if let Err(error @ AskError::Socket { source, .. }) = &agent
            && source.kind() == ErrorKind::PermissionDenied
        {
            return Err(Failure::machine("only root can ask the agent").because(chain(error)));
        }
        let attached = attached()?;
        if self.json {
            let (answer, error) = match &agent {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(chain(error))),
            };
            output.line(json::line(&Shown {
                agent: answer,
                error,
                attached: &attached,
                off: off_lines(),
            }))?;
        } else {
            match &agent {
                Ok(status) => print(status, output)?,
                Err(error) => print_without_agent(error, &attached, output)?,
            }
        }
        Ok(ExitCode::from(match agent {
            Ok(status) if status.last_reload.error.is_some() => BAD,
            Ok(_) => 0,
            Err(_) => MACHINE,
        }))
    }
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    /// What the agent says; `null` if it says nothing.
    agent: Option<&'a Status>,
    /// Why it says nothing.
    error: Option<String>,
    /// What is in force, as the kernel has it.
    attached: &'a [Attached],
    /// What is off, in words.
    off: Vec<String>,
}

/// An attachment.
#[derive(Debug, Serialize)]
struct Attached {
    attachment: String,
    /// On how many cgroups it is, by who put it there.
    cgroups: BTreeMap<&'static str, usize>,
    /// On how many of them it came late.
    late: usize,
}

/// All attachments, by name.
fn attached() -> Result<Vec<Attached>, Failure> {
    let attachments = match Attachments::open() {
        Ok(Some(attachments)) => attachments,
        Ok(None) | Err(AttachmentError::Directory(BpffsError::NotMounted)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut attached = Vec::new();
    for name in attachments.names()? {
        // It may have been detached in the meantime.
        let Ok(links) = attachments.links(&name) else { continue };
        let mut one = Attached { attachment: name.to_string(), cgroups: BTreeMap::new(), late: 0 };
        for link in links.iter().filter(|link| !link.is_dead()) {
            *one.cgroups.entry(link.origin.source.as_str()).or_default() += 1;
            one.late += usize::from(link.origin.late);
        }
        attached.push(one);
    }
    Ok(attached)
}

/// What is off, in words.
fn off_lines() -> Vec<String> {
    match Off::read() {
        Ok(off) => off.reasons().iter().map(what_since).collect(),
        Err(error) => vec![chain(&error)],
    }
}

fn print(status: &Status, output: &Output) -> Result<(), Failure> {
    let Status { version, pid, started_at, directory, policies, off, last_reload, cgroups, .. } = status;
    output.line(format_args!(
        "{HEADING}agent{HEADING:#} {} runs as process {pid} since {}, and watches {}",
        printable(version),
        timestamp::rfc_3339(*started_at),
        count(*cgroups, "cgroup")
    ))?;
    let read_at = timestamp::rfc_3339(last_reload.at);
    match &last_reload.error {
        None => output.line(format_args!("policies of {}, read at {read_at}", printable(directory)))?,
        Some(error) => output.line(format_args!(
            "{DENY}policies of {} have errors{DENY:#} since {read_at}, so that nothing was changed: {}",
            printable(directory),
            printable(error)
        ))?,
    }
    for off in off {
        output.line(format_args!("{REWRITE}off{REWRITE:#}: {}", printable(&off.text)))?;
    }
    print_policies(policies, output)?;
    print_cgroups(status, output)?;
    if !status.notices.is_empty() {
        output.line(format_args!("\n{HEADING}LAST NOTICES{HEADING:#}"))?;
    }
    for notice in &status.notices {
        let severity = notice.kind.severity();
        let style = match severity {
            Severity::Error => DENY,
            Severity::Warning => REWRITE,
            Severity::Info | Severity::Debug => anstyle::Style::new(),
        };
        output.line(format_args!(
            "  {} {style}{}{style:#} {}: {}",
            timestamp::rfc_3339(notice.at),
            severity.name(),
            notice.kind.name(),
            printable(&notice.text)
        ))?;
    }
    Ok(())
}

fn print_policies(policies: &[PolicyStatus], output: &Output) -> Result<(), Failure> {
    if policies.is_empty() {
        return output.line("there are no policies");
    }
    let width = policies.iter().map(|policy| policy.name.len()).max().unwrap_or_default().max("POLICY".len());
    output.line(format_args!(
        "\n{HEADING}{:width$}  MODE     CGROUPS  OUTDATED      MEMORY  FILE{HEADING:#}",
        "POLICY"
    ))?;
    for policy in policies {
        let mode = if policy.audit { "audit" } else { "enforce" };
        output.line(format_args!(
            "{:width$}  {mode:7}  {:>7}  {:>8}  {:>10}  {}",
            printable(&policy.name),
            policy.cgroups,
            policy.outdated,
            kib(policy.memory),
            printable(&policy.path)
        ))?;
    }
    let all = policies.iter().map(|policy| policy.memory).sum();
    output.line(format_args!("{} of the kernel's memory in all", kib(all)))
}

fn print_cgroups(status: &Status, output: &Output) -> Result<(), Failure> {
    if !status.late.is_empty() {
        output.line(format_args!(
            "\n{HEADING}LATE{HEADING:#} (their processes ran before the policy was there)"
        ))?;
    }
    for late in &status.late {
        let workload = late.workload.as_deref().map(|name| format!(" ({})", printable(name)));
        let why =
            if late.before_agent { "it was there before the agent" } else { "its processes were faster" };
        output.line(format_args!(
            "  {}{}: {}, {why}",
            printable(&late.cgroup),
            workload.unwrap_or_default(),
            printable(&late.attachment)
        ))?;
    }
    let listed = status.late.iter().map(|late| &*late.cgroup);
    print_more(status.late_cgroups, listed, "; `knobgate list` says which", output)?;
    if !status.undecided.is_empty() {
        output.line(format_args!(
            "\n{HEADING}UNDECIDED{HEADING:#} (they have no policy until that is known)"
        ))?;
    }
    for undecided in &status.undecided {
        output.line(format_args!(
            "  {}: {} looks at {}, which is not known",
            printable(&undecided.cgroup),
            printable(&undecided.policy),
            printable(&undecided.field)
        ))?;
    }
    let listed = status.undecided.iter().map(|undecided| &*undecided.cgroup);
    print_more(status.undecided_cgroups, listed, "", output)
}

/// How many cgroups are not listed.
fn print_more<'a>(
    all: usize,
    listed: impl Iterator<Item = &'a str>,
    where_else: &str,
    output: &Output,
) -> Result<(), Failure> {
    match all.saturating_sub(listed.collect::<BTreeSet<_>>().len()) {
        0 => Ok(()),
        more => output.line(format_args!("  and {} more{where_else}", count(more, "cgroup"))),
    }
}

fn print_without_agent(error: &AskError, attached: &[Attached], output: &Output) -> Result<(), Failure> {
    let consequence = "no policy is put on new cgroups, unless a hook does that";
    match error {
        AskError::NoAgent => output.line(format_args!("{DENY}no agent runs{DENY:#}: {consequence}"))?,
        error => output.line(format_args!("{DENY}no answer{DENY:#}: {}", printable(&chain(error))))?,
    }
    for off in off_lines() {
        output.line(format_args!("{REWRITE}off{REWRITE:#}: {}", printable(&off)))?;
    }
    let in_force: Vec<&Attached> = attached.iter().filter(|one| !one.cgroups.is_empty()).collect();
    if in_force.is_empty() {
        return output.line("nothing is in force");
    }
    output.line("in force all the same:")?;
    for one in in_force {
        let by =
            |(source, &number): (&&str, &usize)| format!("{} by {}", count(number, "cgroup"), by(source));
        let by: Vec<String> = one.cgroups.iter().map(by).collect();
        output.line(format_args!("  {}: {}", printable(&one.attachment), by.join(", ")))?;
    }
    output.line("knobgate list has the cgroups")
}

/// Who a source is, in words.
fn by(source: &str) -> &str {
    match source {
        source if source == LinkSource::Agent.as_str() => "an agent",
        source if source == LinkSource::Hook.as_str() => "the hook",
        source if source == LinkSource::Nri.as_str() => "the NRI plugin",
        source => source,
    }
}
