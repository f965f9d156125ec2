//! `knobgate oci-hook`: a hook for OCI runtimes, which puts policies on containers before they start.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use knobgate::workload::Piece;
use knobgate::{
    AttachmentError, Attachments, ContainerError, ContainerPolicy, LinkedVersion, OciState, OciStatus, Off,
    OffBy, StartingContainer,
};
use knobgate_kernel::{AttachmentName, BpffsError, LinkSource};

use crate::failure::BAD;
use crate::hook_arguments::NamespacedHookArguments;
use crate::journal::{self, Priority};
use crate::output::{Output, chain};
use crate::printable::printable;

/// Put policies on a container before it starts: a hook for runc, crun and other OCI runtimes
///
/// The runtime runs it at the stages createRuntime and poststop, with the state of the container on standard input. It attaches
/// every policy of the directory that applies to the container (`apply if`, docs/language.md) to the topmost cgroup of the
/// container, before the first instruction of the container runs. Where that fails, the container does not start.
///
/// A policy is compiled when it is first needed after the machine was started, or edited. Then a start only opens its program. An
/// edited policy applies to containers that start from then on.
///
/// If no policy applies, it does nothing. Policies that are off (`knobgate off`) do not apply. At the stage poststop, it cleans up,
/// and never fails.
///
/// Privileges: root, CAP_SYS_ADMIN.
///
/// Exit status: 0; 1 if the container must not start: then there is one line on standard error, which runtimes print, and the same
/// in the journal; 2 if the arguments are wrong.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct OciHook {
    #[command(flatten)]
    arguments: NamespacedHookArguments,
    /// A label of the container or its pod; can be repeated. If there is one, these are all that it has
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// Fail if no policy on the container is enforced and denies writes by default: for a runtime that makes /proc/sys writable
    #[arg(long, conflicts_with_all = ["fail_open", "fail_open_namespaces"])]
    require_default_deny: bool,
}

const EXAMPLES: &str = "\
Examples:
  knobgate oci-hook <state.json
  knobgate oci-hook --policies /etc/knobgate/policies.d --fail-open-namespace kube-system <state.json

Podman and CRI-O run it for every container with packaging/oci/hooks.d/knobgate.json in /usr/share/containers/oci/hooks.d.";

/// The longest message. The verifier's log about a program can be very long.
const MESSAGE_MAX: usize = 4096;

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A container that shall start, as far as it is known.
#[derive(Debug, Default)]
struct Subject {
    id: Option<String>,
    namespace: Option<String>,
}

impl OciHook {
    pub(crate) fn run(self, output: &Output) -> ExitCode {
        let mut subject = Subject::default();
        let state = if io::stdin().is_terminal() {
            Err(ContainerError::State {
                why: "it is a terminal; an OCI runtime runs this command".to_owned(),
            })
        } else {
            OciState::read(io::stdin().lock())
        };
        let started = state.and_then(|state| {
            subject.id = Some(state.id.clone());
            match state.status {
                OciStatus::Stopped => {
                    clean_up(&subject);
                    Ok(())
                }
                _ => self.start(&state, &mut subject),
            }
        });
        let Err(error) = started else { return ExitCode::SUCCESS };
        let why = message(&error);
        let container = subject.id.as_deref().unwrap_or("of unknown id");
        if self.arguments.fails_open(subject.namespace.as_deref()) {
            let said =
                format!("the container {container} starts unjudged, because knobgate fails open: {why}");
            subject.log(Priority::Warning, &said);
            output.warning(said);
            return ExitCode::SUCCESS;
        }
        subject.log(Priority::Error, &format!("the container {container} does not start: {why}"));
        output.report(format_args!("knobgate: {}", printable(&why)));
        ExitCode::from(BAD)
    }

    /// Puts the policies that apply on a container.
    fn start(&self, state: &OciState, subject: &mut Subject) -> Result<(), ContainerError> {
        let off = Off::read().map_err(AttachmentError::from);
        if let Some(by) = off.as_ref().ok().and_then(Off::all) {
            // Not even the policies are read: one of them may be wrong.
            if self.require_default_deny {
                return Err(no_default_deny(state, format!("none, because {by}")));
            }
            subject
                .log(Priority::Warning, &format!("the container {} starts without policies: {by}", state.id));
            return Ok(());
        }
        let policies = self.arguments.of_all.read_policies();
        let is_empty = policies.as_ref().is_ok_and(|policies| policies.policies().is_empty());
        if is_empty && !self.require_default_deny {
            return Ok(());
        }
        let mut container = StartingContainer::find(state)?;
        let namespace = container.workload().namespace.as_ref().map(Piece::bytes);
        subject.namespace = namespace.map(|namespace| String::from_utf8_lossy(namespace).into_owned());
        let policies = policies?;
        if !self.label.is_empty() {
            container.set_labels(self.label.iter().cloned());
        }
        let mut applying = policies.applying_to(&container.fields())?;
        if !applying.is_empty() {
            // If that is not known, only these do not start.
            let off = off?;
            applying.retain(|policy| match off.of(policy.version().name()) {
                Some(by) => {
                    subject.log_off(policy.version().name(), &by);
                    false
                }
                None => true,
            });
        }
        self.check_default_deny(state, &applying)?;
        if applying.is_empty() {
            return Ok(());
        }
        let attachments = Attachments::create()?;
        for moved in attachments.moved_away() {
            let (path, owner) = (moved.path.display(), moved.owner);
            subject.log(
                Priority::Warning,
                &format!("a directory of user {owner} was in the way, and is {path} now; remove it"),
            );
        }
        let linked = container.link(&attachments, &applying, LinkSource::Hook)?;
        subject.log_limits(&linked.versions);
        linked.off.iter().for_each(|(name, by)| subject.log_off(name, by));
        // It may have been put off just now.
        applying.retain(|policy| linked.off.iter().all(|(name, _)| name != policy.version().name()));
        self.check_default_deny(state, &applying)?;
        let others = match container.others_in_cgroup().unwrap_or_default() {
            0 => return Ok(()),
            1 => "another process".to_owned(),
            others => format!("{others} other processes"),
        };
        let path = String::from_utf8_lossy(&container.workload().path);
        subject.log(
            Priority::Warning,
            &format!(
                "the container {} shares its cgroup {path} with {others}, judged by its policies, too",
                state.id
            ),
        );
        Ok(())
    }

    /// Fails if a default that denies writes is required, and none of these policies has it.
    fn check_default_deny(
        &self,
        state: &OciState,
        applying: &[&ContainerPolicy],
    ) -> Result<(), ContainerError> {
        if !self.require_default_deny || applying.iter().any(|policy| policy.denies_writes_by_default()) {
            return Ok(());
        }
        let names: Vec<_> = applying.iter().map(|policy| policy.name()).collect();
        let applying = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(no_default_deny(state, applying))
    }
}

fn no_default_deny(state: &OciState, applying: String) -> ContainerError {
    ContainerError::NoDefaultDeny { container: state.id.clone(), applying }
}

impl Subject {
    fn log(&self, priority: Priority, message: &str) {
        let id = self.id.as_deref().map(|id| ("KNOBGATE_CONTAINER_ID", id));
        journal::send(priority, &printable(message), id.as_slice(), None);
    }

    /// Says that a policy which applies is not put on it.
    fn log_off(&self, name: &AttachmentName, by: &OffBy) {
        let container = self.id.as_deref().unwrap_or("of unknown id");
        self.log(Priority::Warning, &format!("the container {container} starts without {name}: {by}"));
    }

    /// Says where a program that was compiled is stricter than its policy.
    fn log_limits(&self, linked: &[LinkedVersion]) {
        for LinkedVersion { name, limits, .. } in linked {
            for limit in limits {
                self.log(Priority::Warning, &format!("{name}: {limit}"));
            }
        }
    }
}

/// Unpins the links of containers that are gone. What fails here is left to the next time.
fn clean_up(subject: &Subject) {
    let cleaned = match Attachments::open() {
        Ok(Some(attachments)) => attachments.remove_unused_versions(),
        Ok(None) | Err(AttachmentError::Directory(BpffsError::NotMounted)) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = cleaned {
        subject.log(Priority::Warning, &format!("cannot clean up: {}", chain(&error)));
    }
}

/// An error with its causes, in one line.
fn message(error: &ContainerError) -> String {
    let mut message = chain(error);
    if message.len() > MESSAGE_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        message.push('…');
    }
    message
}
