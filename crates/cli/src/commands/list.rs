//! `knobgate list`: list attached programs.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;

use knobgate::{AttachedBy, AttachedPolicy, EffectiveProgram, ObjectOrigin, OffBy, RunOrder, Survey};
use knobgate_kernel::{AttachmentName, LinkOrigin, ProgramFd};
use serde::Serialize;

use crate::failure::Failure;
use crate::json;
use crate::link_source::describe;
use crate::off::{self, OffReason};
use crate::output::Output;
use crate::printable::{printable, printable_path};
use crate::style::{DIM, HEADING};
use crate::target::{Target, TargetArgs};
use crate::timestamp;

/// List attached programs, knobgate's and others'
///
/// For each cgroup with programs on this hook: all programs that run there, its own and those of the cgroups above, in
/// the order in which they run. All of them run for every access, and each can deny it. A later program can also allow
/// what an earlier one denied; knobgate's never do.
///
/// After a link it says who put the program there, unless somebody did with `knobgate attach`, and `late` if there were processes in
/// the cgroup by then: what they did before was not judged. Before all else, it says which policies are off (`knobgate off`).
///
/// With --cgroup, --pid, --container, --unit or --pod, only what runs for these cgroups and those below.
///
/// Privileges: root, CAP_SYS_ADMIN.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    targets: TargetArgs,
    /// Print JSON: one object a line, for each program on each cgroup
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let targets = self.targets.find()?;
        let mut survey = Survey::take()
            .map_err(|error| Failure::machine("cannot list what is attached").because(error))?;
        if !targets.is_empty() {
            survey.cgroups = orders_for(&targets, &survey);
            survey.dead.clear();
            survey.waiting.clear();
            survey.unused.clear();
        }
        let Survey { cgroups, dead, waiting, unused, unread, .. } = survey;
        let off = off::shown(output);
        for error in &unread {
            output.warning(format!("cannot read all pins, so names of attachments are missing: {error}"));
        }
        let mut programs = HashMap::new();
        let lines: Vec<(&RunOrder, Vec<ProgramLine>)> =
            cgroups.iter().map(|order| (order, lines(order, &mut programs))).collect();
        let dead: Vec<&str> = dead.iter().map(AttachmentName::as_str).collect();
        // The text for a program without a known pin.
        let unnamed = if unread.is_empty() { "not pinned" } else { "perhaps pinned" };

        if self.json {
            for line in lines.iter().flat_map(|(_, lines)| lines) {
                output.line(json::line(line))?;
            }
            for attachment in dead {
                output.line(json::line(&Dead { attachment, cgroup: None }))?;
            }
            for name in &waiting {
                let waiting = Waiting { attachment: name.as_str(), cgroup: None, for_containers: true };
                output.line(json::line(&waiting))?;
            }
            for name in &unused {
                let unused = Unused { attachment: name.as_str(), cgroup: None, for_systemd: true };
                output.line(json::line(&unused))?;
            }
            for by in &off.reasons() {
                output.line(json::line(&IsOff::from(by)))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        for by in &off.reasons() {
            output.line(printable(&off::describe(by)))?;
        }
        if lines.is_empty() && dead.is_empty() && waiting.is_empty() && unused.is_empty() {
            output.report(if targets.is_empty() {
                "nothing is attached"
            } else {
                "nothing is attached there"
            });
        }
        for (order, lines) in &lines {
            let cgroup = order.cgroup.display().to_string();
            output.line(format_args!("{HEADING}{}{HEADING:#}", printable_path(&order.cgroup)))?;
            for line in lines {
                output.line(line.text(&cgroup, unnamed))?;
            }
        }
        for name in dead {
            output.line(format_args!(
                "{HEADING}{name}{HEADING:#} has no cgroup any more; remove it: knobgate detach {name}"
            ))?;
        }
        for name in waiting {
            output
                .line(format_args!("{HEADING}{name}{HEADING:#} is for containers, and on no cgroup now"))?;
        }
        for name in unused {
            output.line(format_args!(
                "{HEADING}{name}{HEADING:#} is pinned for systemd, and on no cgroup now"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The programs that run for these cgroups, and for those below that have programs of their own.
fn orders_for(targets: &[Target], survey: &Survey) -> Vec<RunOrder> {
    let mut orders = BTreeMap::new();
    for target in targets {
        let path = target.cgroup().path();
        let below = survey.cgroups.iter().filter(|order| order.cgroup.starts_with(path)).cloned();
        let all = survey.order_for(path).into_iter().chain(below);
        orders.extend(all.map(|order| (order.cgroup.clone(), order)));
    }
    orders.into_values().collect()
}

#[derive(Debug, Serialize)]
struct ProgramLine {
    cgroup: String,
    /// The place in the order in which they run, from 1.
    order: usize,
    program: u32,
    program_name: Option<String>,
    /// The policy, if it is the program of one.
    policy: Option<String>,
    /// The file that it came from, if knobgate attached it from an object.
    object: Option<String>,
    /// The name of the attachment that holds it.
    attachment: Option<String>,
    /// The cgroup that it is attached to.
    attached_to: Option<String>,
    /// `link`, or the mode: `single`, `override`, `multi`.
    attached_by: Option<String>,
    link: Option<u32>,
    /// Who made the link: `hand`, `agent`, `hook`, `nri`, `unknown`. `null` if no attachment holds it.
    source: Option<&'static str>,
    /// Whether there were processes in the cgroup when the link was made.
    late: Option<bool>,
    #[serde(skip)]
    origin: Option<LinkOrigin>,
    loaded_by_uid: Option<u32>,
    loaded_at: Option<String>,
}

/// An attachment whose cgroups are gone.
#[derive(Debug, Serialize)]
struct Dead<'a> {
    attachment: &'a str,
    cgroup: Option<&'a str>,
}

/// The attachment of a policy for containers that is on no cgroup.
#[derive(Debug, Serialize)]
struct Waiting<'a> {
    attachment: &'a str,
    cgroup: Option<&'a str>,
    for_containers: bool,
}

/// What is off.
#[derive(Debug, Serialize)]
struct IsOff<'a> {
    /// The attachment or the policy; `null` for all.
    attachment: Option<&'a str>,
    cgroup: Option<&'a str>,
    off: OffReason,
}

impl<'a> From<&'a OffBy> for IsOff<'a> {
    fn from(by: &'a OffBy) -> Self {
        let attachment = match by {
            OffBy::Name(name, _) => Some(name.as_str()),
            _ => None,
        };
        Self { attachment, cgroup: None, off: by.into() }
    }
}

/// A program that is pinned for systemd, and is on no cgroup.
#[derive(Debug, Serialize)]
struct Unused<'a> {
    attachment: &'a str,
    cgroup: Option<&'a str>,
    for_systemd: bool,
}

/// Details of a program. They may be missing if it is gone or not visible.
#[derive(Debug, Clone, Default)]
struct Details {
    name: Option<String>,
    policy: Option<String>,
    object: Option<String>,
    loaded_by_uid: Option<u32>,
    loaded_at: Option<String>,
}

impl Details {
    fn read(program_id: u32) -> Self {
        let Ok(program) = ProgramFd::by_id(program_id) else { return Self::default() };
        let info = program.info().ok();
        let policy = AttachedPolicy::read(&program).ok().flatten();
        let object = ObjectOrigin::read(&program).ok().flatten();
        Self {
            name: info.as_ref().map(|info| info.name.clone()),
            policy: policy.map(|policy| policy.name().unwrap_or("?").to_owned()),
            object: object.map(|object| object.path().to_owned()),
            loaded_by_uid: info.as_ref().map(|info| info.created_by_uid),
            loaded_at: info.as_ref().map(|info| timestamp::since_boot(info.loaded_at)),
        }
    }
}

/// `programs` caches details: a program can be on many cgroups.
fn lines(order: &RunOrder, programs: &mut HashMap<u32, Details>) -> Vec<ProgramLine> {
    let line = |(index, program): (usize, &EffectiveProgram)| {
        let id = program.program_id;
        let details = programs.entry(id).or_insert_with(|| Details::read(id)).clone();
        let (link, attachment, attached_by) = match &program.attached_by {
            Some(AttachedBy::Link { id, attachment, origin }) => {
                (Some((*id, *origin)), attachment.as_ref(), Some("link".to_owned()))
            }
            Some(AttachedBy::Mode(mode)) => (None, program.pinned_as.as_ref(), Some(mode.to_string())),
            None => (None, None, None),
        };
        let origin = link.and_then(|(_, origin)| origin);
        ProgramLine {
            cgroup: order.cgroup.display().to_string(),
            order: index + 1,
            program: id,
            program_name: details.name,
            policy: details.policy,
            object: details.object,
            attachment: attachment.map(ToString::to_string),
            attached_to: program.attached_to.as_ref().map(|path| path.display().to_string()),
            attached_by,
            link: link.map(|(id, _)| id),
            source: origin.map(|origin| origin.source.as_str()),
            late: origin.map(|origin| origin.late),
            origin,
            loaded_by_uid: details.loaded_by_uid,
            loaded_at: details.loaded_at,
        }
    };
    order.programs.iter().enumerate().map(line).collect()
}

impl ProgramLine {
    fn text(&self, cgroup: &str, unnamed: &str) -> String {
        let whose = match (&self.attachment, &self.policy, &self.object) {
            (Some(name), ..) => format!("{HEADING}{name}{HEADING:#}"),
            (None, Some(policy), _) => format!("policy \"{}\", {unnamed}", printable(policy)),
            (None, None, Some(object)) => format!("from {}, {unnamed}", printable(object)),
            (None, None, None) => "not ours".to_owned(),
        };
        let name = self.program_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("no name");
        let by = match (&self.attached_by, self.link) {
            (_, Some(link)) => format!("link {link}{}", self.origin.map(describe).unwrap_or_default()),
            (Some(mode), None) => format!("{mode} mode"),
            (None, None) => "attached where it is not visible".to_owned(),
        };
        let from = match &self.attached_to {
            Some(path) if path != cgroup => format!(", from {}", printable(path)),
            _ => String::new(),
        };
        let loaded = match (self.loaded_by_uid, &self.loaded_at) {
            (Some(uid), Some(at)) => format!("{DIM}, loaded by uid {uid} at {at}{DIM:#}"),
            _ => String::new(),
        };
        format!(
            "  {}. {whose}: program {} ({}), {by}{from}{loaded}",
            self.order,
            self.program,
            printable(name)
        )
    }
}
