//! `knobgate show`: one attachment in full.

mod maps;

use std::process::ExitCode;

use knobgate_policy::Mode;
use serde::Serialize;

use crate::attachments::{cannot, open_link, open_pins, parse_name, path_of};
use crate::failure::Failure;
use crate::in_force::{Counted, InForce, ObjectFile};
use crate::json;
use crate::output::Output;
use crate::printable::printable;
use crate::style::{DIM, HEADING};
use crate::timestamp;
use maps::ShownMap;

/// Show one attachment: its policy, its cgroup, its counters
///
/// All of it is read back from the kernel: the text of the policy is the one that is in force, whatever became of the file.
///
/// DECIDED counts the accesses that a rule decided; COULD NOT those that were denied because the rule could not be
/// evaluated for them (text where a number was needed, a value that is too long). Both count from when the policy was
/// attached or last replaced.
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
        let link = open_link(pins.as_ref(), &name, "show")?;
        let info = link.info().map_err(|error| cannot("show", &name).because(error))?;
        let program = link.program().map_err(|error| cannot("show", &name).because(error))?;
        let details = program.info().map_err(|error| cannot("show", &name).because(error))?;
        let in_force = InForce::read(&program).map_err(|error| cannot("show", &name).because(error))?;
        let (object, maps) = match in_force {
            Some(_) => (None, Vec::new()),
            None => {
                let object = ObjectFile::read(&program);
                let maps = program.maps().map(|maps| maps::shown(&maps));
                let failed = |error| cannot("show", &name).because(error);
                (object.map_err(failed)?, maps.map_err(failed)?)
            }
        };
        let file = in_force.as_ref().and_then(|in_force| in_force.file.as_ref());
        let shown = Shown {
            name: name.to_string(),
            cgroup: info.cgroup_id.and_then(|id| path_of(id).ok().flatten()),
            cgroup_id: info.cgroup_id,
            link: info.id,
            program: details.id,
            program_name: details.name,
            loaded_by_uid: details.created_by_uid,
            loaded_at: timestamp::since_boot(details.loaded_at),
            policy: file.map(|file| file.policy().name.clone()),
            mode: file.map(|file| match file.policy().mode {
                Mode::Enforce => "enforce",
                Mode::Audit => "audit",
            }),
            rules: in_force.iter().flat_map(InForce::counted).map(Rule::from).collect(),
            text: in_force.map(|in_force| in_force.text),
            object: object.as_ref().map(|object| object.path.clone()),
            object_program: object.map(|object| object.program),
            maps,
        };
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
    /// `null` when it is gone or out of sight.
    cgroup: Option<String>,
    /// `null` when it is gone.
    cgroup_id: Option<u64>,
    link: u32,
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
    fn print(&self, output: &Output) -> Result<(), Failure> {
        let place = match (&self.cgroup, self.cgroup_id) {
            (Some(path), _) => printable(path).into_owned(),
            (None, Some(id)) => format!("the cgroup with the id {id}, which cannot be seen from here"),
            (None, None) => "no cgroup any longer: the one that it was on was removed".to_owned(),
        };
        output.line(format_args!("{HEADING}{}{HEADING:#} on {place}", self.name))?;
        output.line(format_args!("  {}", self.what()))?;
        output.line(format_args!(
            "  program {} ({}), link {}, loaded by uid {} at {}",
            self.program,
            printable(&self.program_name),
            self.link,
            self.loaded_by_uid,
            self.loaded_at
        ))?;
        match &self.text {
            Some(text) => self.print_rules(text, output),
            None => maps::print(&self.maps, output),
        }
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
            output.line(format_args!("{decided:>9}  {could_not:>9}  {line:>4}  {}", printable(rule)))?;
        }
        output.line("")?;
        for (index, line) in text.lines().enumerate() {
            output.line(format_args!("{DIM}{:>4} |{DIM:#} {}", index + 1, printable(line)))?;
        }
        Ok(())
    }
}
