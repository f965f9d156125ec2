//! `knobgate off`: take policies out of force, and keep them there.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use knobgate::{
    AttachedBy, AttachedPolicy, AttachmentError, Attachments, ContainerPolicies, Off, RunOrder, Supervisor,
    Survey, TakenOff, name_of_versions,
};
use knobgate_kernel::{AttachmentName, BpffsError, ProgramFd};

use crate::attachment_names::named;
use crate::failure::{Failure, MACHINE};
use crate::link_source::by_all;
use crate::output::{Output, chain};
use crate::plural::count;

/// Take all policies out of force, or one, and keep them out: for when one of them breaks something
///
/// It detaches them from all cgroups, whoever has put them there, at once and for processes that run. Until `knobgate on`, or until
/// the machine is restarted, nothing puts them back: not the agent, not the hooks of OCI runtimes, not the NRI plugin, and not
/// `attach` and `run`, which fail. Containers start without them.
///
/// What the policies of containers have counted and remembered stays. What was attached by hand has to be attached again after
/// `knobgate on`. Commands that `knobgate run` has started keep their policy until they end.
///
/// To start a machine with all policies off, add knobgate=off to the kernel's command line.
///
/// Privileges: root.
///
/// Exit status: 0; 1 if the policies of the name's directory have errors, so that it is not known whether there is one; 2 if there is
/// no such policy; 3 if a policy may still be in force somewhere.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TurnOff {
    /// The name of an attachment, or of a policy for containers, which means all of its versions; by default all policies
    name: Option<String>,
    /// Why, for whoever finds it off; `list`, `show`, `status` and `doctor` say it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  knobgate off --reason 'the shop does not start'
  knobgate off web
  knobgate on";

impl TurnOff {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = self.name.as_deref().map(named).transpose()?;
        if let Some(name) = &name {
            check_known(name)?;
        }
        // First: whoever puts a policy on a cgroup looks at it with the attachments locked, and detaching locks them afterwards.
        let is_new = Off::set(name.as_ref(), self.reason.as_deref())?;
        let what = name.as_ref().map_or_else(|| "all policies are".to_owned(), |name| format!("{name}: is"));
        let on = name.as_ref().map_or_else(|| "knobgate on".to_owned(), |name| format!("knobgate on {name}"));
        let already = if is_new { "" } else { " already" };
        output.done(format_args!("{what} off{already}, until `{on}` or a restart of the machine"));
        let Some(attachments) = open()? else { return Ok(ExitCode::SUCCESS) };
        let taken = attachments.take_off(name.as_ref())?;
        let are_off: Vec<bool> = taken.into_iter().map(|taken| say(taken, output)).collect();
        say_what_is_left(name.as_ref(), output);
        Ok(if are_off.contains(&false) { ExitCode::from(MACHINE) } else { ExitCode::SUCCESS })
    }
}

/// The attachments; `None` if nothing is attached.
fn open() -> Result<Option<Attachments>, Failure> {
    match Attachments::open() {
        Err(AttachmentError::Directory(BpffsError::NotMounted)) => Ok(None),
        opened => Ok(opened?),
    }
}

/// Says what became of an attachment. Returns whether it is on no cgroup now.
fn say(taken: TakenOff, output: &Output) -> bool {
    let TakenOff { name, from, from_without_link, is_gone, not_detached, failed, .. } = taken;
    if !from.is_empty() {
        let again = if is_gone { "; attach it again when it is on" } else { "" };
        output.done(format_args!("{name}: detached; it was attached {}{again}", by_all(&from)));
    }
    if is_gone && from.is_empty() && from_without_link == 0 {
        output.done(format_args!("{name}: removed; it was on no cgroup"));
    }
    if from_without_link > 0 {
        output.done(format_args!(
            "{name}: detached; systemd had attached it to {} (BPFProgram=); when it is on again, restart knobgate-program@{name} and \
             the units",
            count(from_without_link, "cgroup")
        ));
    }
    if let Some(error) = &not_detached {
        output.warning(format!(
            "{error}; if another process holds the link of \"{name}\", its program runs until that process closes it"
        ));
    }
    for error in &failed {
        output.failure(
            &Failure::machine(format!("cannot detach the attachment \"{name}\"")).because(chain(error)),
        );
    }
    failed.is_empty() && not_detached.is_none()
}

/// Names the cgroups on which systemd has put a program whose pin was replaced or removed since: nothing says whose it is, so it is not
/// taken away.
fn say_what_is_left(name: Option<&AttachmentName>, output: &Output) {
    let Ok(survey) = Survey::take() else { return };
    for RunOrder { cgroup, programs, .. } in &survey.cgroups {
        let is_of_run = cgroup
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(Supervisor::CGROUP_PREFIX.as_bytes()));
        let left = programs.iter().filter(|program| {
            program.attached_to.as_ref() == Some(cgroup)
                && matches!(program.attached_by, Some(AttachedBy::Mode(_)))
                && !is_of_run
        });
        for program in left {
            let policy = ProgramFd::by_id(program.program_id).and_then(|one| AttachedPolicy::read(&one));
            let Ok(Some(policy)) = policy else { continue };
            let called = policy.name().unwrap_or("?");
            if name.is_none_or(|name| name.as_str() == called) {
                output.warning(format!(
                    "the policy \"{called}\" still runs on {}, without a link or a pin (program {}): if systemd has attached it for a \
                     unit, restart the unit",
                    cgroup.display(),
                    program.program_id
                ));
            }
        }
    }
}

/// Fails if there is neither an attachment nor a policy for containers of this name, unless it is off already.
pub(super) fn check_known(name: &AttachmentName) -> Result<(), Failure> {
    let attached = open()?.map(|attachments| attachments.names()).transpose()?.unwrap_or_default();
    if attached.iter().any(|attachment| Off::covers(name, attachment)) || Off::read()?.is_noted(name) {
        return Ok(());
    }
    let directory = Path::new(ContainerPolicies::DIRECTORY);
    let policies = ContainerPolicies::read(directory, None).map_err(|error| {
        Failure::bad(format!(
            "\"{name}\" is not attached, and whether it is a policy of {} is not known (`knobgate off` takes off all)",
            directory.display()
        ))
        .because(error)
    })?;
    let mut known: BTreeSet<String> = attached.iter().map(ToString::to_string).collect();
    for policy in policies.policies() {
        if name_of_versions(policy.name()) == name_of_versions(name.as_str()) {
            return Ok(());
        }
        known.insert(policy.name().to_owned());
    }
    Err(unknown(name, &known))
}

fn unknown(name: &AttachmentName, known: &BTreeSet<String>) -> Failure {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let there_is = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::usage(format!("there is no attachment and no policy \"{name}\" (there is: {there_is})"))
}
