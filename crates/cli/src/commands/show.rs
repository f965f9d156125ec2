//! `knobgate show`: one attachment in full.

mod maps;

use std::borrow::Cow;
use std::process::ExitCode;

use knobgate_kernel::{AttachmentName, ObjectError, PinDir, PinnedLink, ProgramFd};
use knobgate_policy::Mode;
use serde::Serialize;

use crate::attachments::{Lock, cannot, open_attachment, open_pins, parse_name, paths_by_id};
use crate::failure::Failure;
use crate::in_force::{Counted, InForce, ObjectFile};
use crate::json;
use crate::output::Output;
use crate::plural::count;
use crate::printable::{printable, printable_lines};
use crate::style::{DIM, HEADING};
use crate::timestamp;
use maps::ShownMap;

/// Show one attachment: its policy, its cgroups, its counters
///
/// All of it is read back from the kernel: the text of the policy is the one that is in force, whatever became of the file.
///
/// DECIDED counts the accesses that a rule decided; COULD NOT those that were denied because the rule could not be
/// evaluated for them (text where a number was needed, a value that is too long). Both count from when the policy was
/// attached or last replaced, over all cgroups that the attachment is on.
///
/// Of a program that is not of a policy: the file that it came from, if knobgate attached it, and its maps.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The name of the attachment
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = parse_name(&self.name)?;
        let pins = open_pins()?;
        let shown = match (Shown::read(pins.as_ref(), &name), &pins) {
            // Others may have replaced or detached it meanwhile, which nobody does now.
            (Err(failure), Some(pins)) => {
                let _lock = Lock::take(pins).map_err(|_| failure)?;
                Shown::read(Some(pins), &name)
            }
            (read, _) => read,
        }?;
        if self.json {
            output.line(json::line(&shown))?;
        } else {
            shown.print(output)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    /// None when those that it was on are gone.
    cgroups: Vec<Held>,
    program: u32,
    program_name: String,
    loaded_by_uid: u32,
    loaded_at: String,
    policy: Option<String>,
    mode: Option<&'static str>,
    /// The rules, then the default for reads and that for writes.
    rules: Vec<Rule>,
    /// `null` when it is no policy.
    text: Option<String>,
    /// The file that it came from, when it is no policy and we have attached it.
    object: Option<String>,
    /// Its whole name, in there.
    object_program: Option<String>,
    /// Those of a program that is no policy.
    maps: Vec<ShownMap>,
}

/// A cgroup that the attachment is on.
#[derive(Debug, Serialize)]
struct Held {
    /// `null` when it is out of sight.
    cgroup: Option<String>,
    cgroup_id: u64,
    link: u32,
    /// The same for all, unless a replacing was killed before it had come to all.
    program: u32,
}

impl Held {
    /// By the cgroups' paths.
    fn all(links: &[PinnedLink]) -> Vec<Self> {
        let paths = paths_by_id().unwrap_or_default();
        let held = |link: &PinnedLink| Self {
            cgroup: paths.get(&link.cgroup_id).map(|path| path.display().to_string()),
            cgroup_id: link.cgroup_id,
            link: link.info.id,
            program: link.info.program_id,
        };
        let mut all: Vec<_> = links.iter().map(held).collect();
        all.sort_by(|one, other| one.cgroup.cmp(&other.cgroup));
        all
    }

    fn place(&self) -> Cow<'_, str> {
        match &self.cgroup {
            Some(path) => printable(path),
            None => {
                format!("the cgroup with the id {}, which cannot be seen from here", self.cgroup_id).into()
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Rule {
    line: Option<usize>,
    rule: String,
    decided: u64,
    could_not: u64,
}

impl From<Counted> for Rule {
    fn from(Counted { line, text, hits }: Counted) -> Self {
        Self { line, rule: text, decided: hits.decided, could_not: hits.unreadable }
    }
}

impl Shown {
    fn read(pins: Option<&PinDir>, name: &AttachmentName) -> Result<Self, Failure> {
        let attachment = open_attachment(pins, name, "show")?;
        let links = attachment.links().map_err(|error| cannot("show", name).because(error))?;
        let (dead, alive): (Vec<_>, Vec<_>) = links.into_iter().partition(PinnedLink::is_dead);
        let Some(program_id) = alive.first().or(dead.first()).map(|link| link.info.program_id) else {
            let nothing = format!("nothing is left of it; remove it: knobgate detach {name}");
            return Err(cannot("show", name).because(nothing));
        };
        let failed = |error: ObjectError| cannot("show", name).because(error);
        let program = ProgramFd::by_id(program_id).map_err(failed)?;
        let details = program.info().map_err(failed)?;
        let in_force = InForce::read(&program).map_err(failed)?;
        let (object, maps) = match in_force {
            Some(_) => (None, Vec::new()),
            None => {
                let maps = program.maps().map_err(failed)?;
                (ObjectFile::read(&program).map_err(failed)?, maps::shown(&maps))
            }
        };
        let file = in_force.as_ref().and_then(|in_force| in_force.file.as_ref());
        Ok(Self {
            name: name.to_string(),
            cgroups: Held::all(&alive),
            program: details.id,
            program_name: details.name,
            loaded_by_uid: details.created_by_uid,
            loaded_at: timestamp::since_boot(details.loaded_at),
            policy: file.map(|file| file.policy().name().to_owned()),
            mode: file.map(|file| match file.policy().mode() {
                Mode::Enforce => "enforce",
                Mode::Audit => "audit",
            }),
            rules: in_force.iter().flat_map(InForce::counted).map(Rule::from).collect(),
            text: in_force.map(|in_force| in_force.text),
            object: object.as_ref().map(|object| object.path.clone()),
            object_program: object.map(|object| object.program),
            maps,
        })
    }

    fn print(&self, output: &Output) -> Result<(), Failure> {
        let (place, link) = match &self.cgroups[..] {
            [] => ("no cgroup any longer: what it was on was removed".into(), String::new()),
            [only] => (only.place(), format!(", link {}", only.link)),
            several => (count(several.len(), "cgroup").into(), String::new()),
        };
        output.line(format_args!("{HEADING}{}{HEADING:#} on {place}", self.name))?;
        output.line(format_args!("  {}", self.what()))?;
        output.line(format_args!(
            "  program {} ({}){link}, loaded by uid {} at {}",
            self.program,
            printable(&self.program_name),
            self.loaded_by_uid,
            self.loaded_at
        ))?;
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
        for held in &self.cgroups {
            let other = match held.program {
                program if program == self.program => String::new(),
                program => format!(
                    " with program {program}, for a replacing was killed: attach to all of these again"
                ),
            };
            output.line(format_args!("{:>9}  {}{other}", held.link, held.place()))?;
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
                let policy = self.policy.as_deref().unwrap_or("of a version that is not understood here");
                format!("policy {}{mode}", printable(policy))
            }
            (None, Some(path), Some(program)) => {
                format!("program {} of {}", printable(program), printable(path))
            }
            _ => "a program that knobgate did not attach".to_owned(),
        }
    }

    fn print_rules(&self, text: &str, output: &Output) -> Result<(), Failure> {
        output.line(format_args!("\n{HEADING}  DECIDED  COULD NOT  LINE  RULE{HEADING:#}"))?;
        for Rule { line, rule, decided, could_not } in &self.rules {
            let line = line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            output
                .line(format_args!("{decided:>9}  {could_not:>9}  {line:>4}  {}", printable_lines(rule)))?;
        }
        output.line("")?;
        for (index, line) in text.lines().enumerate() {
            output.line(format_args!("{DIM}{:>4} |{DIM:#} {}", index + 1, printable_lines(line)))?;
        }
        Ok(())
    }
}
