//! `knobgate list`: what is attached.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::process::ExitCode;

use knobgate_kernel::{
    AttachMode, Bpffs, BpffsError, Link, MachineAttachments, PinDir, ProgramFd, SurveyError,
};
use serde::Serialize;

use crate::attachments::{Lock, open_pins};
use crate::failure::Failure;
use crate::in_force::{InForce, ObjectFile};
use crate::json;
use crate::output::Output;
use crate::printable::{printable, printable_path};
use crate::run_order::{By, RunOrder, Running, run_orders};
use crate::style::{DIM, HEADING};
use crate::timestamp;

/// List what is attached, ours and others'
///
/// For each cgroup with programs for the accesses to /proc/sys, all that run there, its own and those of the cgroups
/// above, in the order in which they run. All of them run for every access, and each can deny it; one that runs later
/// can also let pass what an earlier one denied, which ours never do.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Print JSON: one object a line, for each program on each cgroup
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let Survey { attachments, pinned, orders } = Survey::take()?;
        let names = &pinned.names;
        for error in &pinned.unread {
            output.warning(format!("cannot read all pins, so names of attachments are missing: {error}"));
        }
        let mut programs = HashMap::new();
        let lines: Vec<(&RunOrder, Vec<Line>)> =
            orders.iter().map(|order| (order, lines(order, names, &mut programs))).collect();
        let alive: HashSet<&str> = attachments
            .links
            .iter()
            .filter(|link| link.cgroup_id.is_some())
            .filter_map(|link| names.get(&link.id).map(String::as_str))
            .collect();
        let dead: BTreeSet<&str> =
            names.values().map(String::as_str).filter(|name| !alive.contains(name)).collect();

        if self.json {
            for line in lines.iter().flat_map(|(_, lines)| lines) {
                output.line(json::line(line))?;
            }
            for attachment in dead {
                output.line(json::line(&Dead { attachment, cgroup: None }))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if lines.is_empty() && dead.is_empty() {
            output.report("nothing is attached");
        }
        for (order, lines) in &lines {
            let cgroup = order.cgroup.display().to_string();
            output.line(format_args!("{HEADING}{}{HEADING:#}", printable_path(&order.cgroup)))?;
            for line in lines {
                output.line(line.text(&cgroup, &pinned))?;
            }
        }
        for name in dead {
            output.line(format_args!(
                "{HEADING}{name}{HEADING:#} has lost what it was on; remove it: knobgate detach {name}"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All that is attached and pinned.
#[derive(Debug)]
struct Survey {
    attachments: MachineAttachments,
    pinned: Pinned,
    orders: Vec<RunOrder>,
}

impl Survey {
    /// Takes it; once more, with nobody else's hands on attachments, if links have changed meanwhile.
    fn take() -> Result<Self, Failure> {
        let before = Link::all().ok();
        let survey = Self::take_once()?;
        let unchanged = Link::all().ok() == before;
        if !unchanged
            && let Ok(Some(pins)) = open_pins()
            && let Ok(_lock) = Lock::take(&pins)
        {
            return Self::take_once();
        }
        Ok(survey)
    }

    fn take_once() -> Result<Self, Failure> {
        let cannot = |error: SurveyError| Failure::machine("cannot list what is attached").because(error);
        let attachments = MachineAttachments::find().map_err(cannot)?;
        let pinned = Pinned::read();
        let orders = run_orders(&attachments).map_err(cannot)?;
        Ok(Self { attachments, pinned, orders })
    }
}

/// What is pinned.
#[derive(Debug, Default)]
struct Pinned {
    /// The names of our attachments by the ids of their links.
    names: HashMap<u32, String>,
    /// Why there may be more.
    unread: Vec<BpffsError>,
}

impl Pinned {
    fn read() -> Self {
        let mut pinned = Self::default();
        let read = match Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs)) {
            Ok(Some(pins)) => pinned.read_all(&pins),
            // Nothing of ours is pinned there.
            Ok(None) | Err(BpffsError::NotMounted) => Ok(()),
            Err(error) => Err(error),
        };
        pinned.unread.extend(read.err());
        pinned
    }

    fn read_all(&mut self, pins: &PinDir) -> Result<(), BpffsError> {
        for name in pins.names()? {
            match pins.attachment(&name).and_then(|attachment| attachment.links()) {
                Ok(links) => self.names.extend(links.iter().map(|link| (link.info.id, name.to_string()))),
                // It was detached meanwhile.
                Err(BpffsError::NotFound { .. }) => {}
                Err(error) => self.unread.push(error),
            }
        }
        Ok(())
    }

    /// What to say of a program that no pin is known for.
    fn unnamed(&self) -> &'static str {
        if self.unread.is_empty() { "not pinned" } else { "perhaps pinned" }
    }
}

#[derive(Debug, Serialize)]
struct Line {
    cgroup: String,
    /// The place in the order in which they run, from 1.
    order: usize,
    program: u32,
    program_name: Option<String>,
    /// The policy, if it is one of ours.
    policy: Option<String>,
    /// The file it came from, if it is a program from an object that we have put there.
    object: Option<String>,
    /// The name of our attachment, if that holds it.
    attachment: Option<String>,
    /// The cgroup that it is attached to.
    attached_to: Option<String>,
    /// `link`, or the mode: `single`, `override`, `multi`.
    attached_by: Option<&'static str>,
    link: Option<u32>,
    loaded_by_uid: Option<u32>,
    loaded_at: Option<String>,
}

/// An attachment whose cgroups are gone.
#[derive(Debug, Serialize)]
struct Dead<'a> {
    attachment: &'a str,
    cgroup: Option<&'a str>,
}

/// What a program says of itself. It may be gone, or not for us to see.
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
        let policy = InForce::read(&program).ok().flatten();
        let object = ObjectFile::read(&program).ok().flatten();
        Self {
            name: info.as_ref().map(|info| info.name.clone()),
            policy: policy.map(|policy| policy.policy_name().unwrap_or("?").to_owned()),
            object: object.map(|object| object.path),
            loaded_by_uid: info.as_ref().map(|info| info.created_by_uid),
            loaded_at: info.as_ref().map(|info| timestamp::since_boot(info.loaded_at)),
        }
    }
}

/// `programs` are those that were read before: one can be on many cgroups.
fn lines(order: &RunOrder, names: &HashMap<u32, String>, programs: &mut HashMap<u32, Details>) -> Vec<Line> {
    let line = |(index, running): (usize, &Running)| {
        let id = running.program_id;
        let details = programs.entry(id).or_insert_with(|| Details::read(id)).clone();
        let link = match running.by {
            Some(By::Link(id)) => Some(id),
            _ => None,
        };
        Line {
            cgroup: order.cgroup.display().to_string(),
            order: index + 1,
            program: id,
            program_name: details.name,
            policy: details.policy,
            object: details.object,
            attachment: link.and_then(|id| names.get(&id).cloned()),
            attached_to: running.on.as_ref().map(|path| path.display().to_string()),
            attached_by: running.by.map(|by| match by {
                By::Link(_) => "link",
                By::Mode(AttachMode::Single) => "single",
                By::Mode(AttachMode::Override) => "override",
                By::Mode(AttachMode::Multi) => "multi",
            }),
            link,
            loaded_by_uid: details.loaded_by_uid,
            loaded_at: details.loaded_at,
        }
    };
    order.programs.iter().enumerate().map(line).collect()
}

impl Line {
    fn text(&self, cgroup: &str, pinned: &Pinned) -> String {
        let unnamed = pinned.unnamed();
        let whose = match (&self.attachment, &self.policy, &self.object) {
            (Some(name), ..) => format!("{HEADING}{name}{HEADING:#}"),
            (None, Some(policy), _) => format!("policy \"{}\", {unnamed}", printable(policy)),
            (None, None, Some(object)) => format!("from {}, {unnamed}", printable(object)),
            (None, None, None) => "not ours".to_owned(),
        };
        let name = self.program_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("no name");
        let by = match (self.attached_by, self.link) {
            (_, Some(link)) => format!("link {link}"),
            (Some(mode), None) => format!("{mode} mode"),
            (None, None) => "attached out of sight".to_owned(),
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
