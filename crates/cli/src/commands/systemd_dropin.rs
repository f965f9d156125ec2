//! `knobgate systemd-dropin`: pin the program of a policy, for systemd to attach to a unit.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate::{Attachments, Off, Pinned};
use knobgate_kernel::{AttachmentName, Hierarchy};

use crate::attachment_failure::parse_name;
use crate::commands::attach::create_attachments;
use crate::failure::Failure;
use crate::output::Output;
use crate::policy_file::load_policy;
use crate::program_source::ProgramSource;

/// Pin the program of a policy, and print a drop-in with which systemd attaches it to a unit
///
/// systemd attaches the program before the first process of the unit starts, each time that it starts it. So the policy judges the
/// unit from its first instruction on, and comes with each new cgroup. Save what is printed as
/// /etc/systemd/system/UNIT.d/knobgate.conf, and restart the unit.
///
/// A pin is gone after a reboot. The drop-in asks for knobgate-program@NAME.service, which pins the policy /etc/knobgate/NAME.knob
/// again, and the unit does not start without the pin.
///
/// Run the command again after the policy was edited: a unit that runs keeps the old program until it is restarted. Without UNIT,
/// nothing is printed: the program is only pinned.
///
/// When systemd is told to reload its units (`systemctl daemon-reload`), it takes its programs away and attaches them again: for that
/// time, the unit is not judged. docs/systemd.md has a way without this.
///
/// systemd attaches programs on cgroup v2 alone (the unified hierarchy), since version 249.
///
/// Privileges: root, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SystemdDropin {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The name of the pin; by default the name of the policy
    #[arg(long)]
    name: Option<String>,
    /// The unit: a service, a slice or another one that has a cgroup; without a type, a service
    #[arg(value_parser = unit)]
    unit: Option<Unit>,
}

const EXAMPLES: &str = "\
Examples:
  mkdir -p /etc/systemd/system/nginx.service.d
  knobgate systemd-dropin --policy /etc/knobgate/web.knob nginx >/etc/systemd/system/nginx.service.d/knobgate.conf
  systemctl daemon-reload
  systemctl restart nginx";

/// What a drop-in of this command begins with. `unhook` removes those that do.
pub(crate) const DROP_IN_MARK: &str = "# Made by knobgate systemd-dropin";

/// Where `knobgate-program@NAME.service` looks for NAME.knob.
const POLICIES: &str = "/etc/knobgate";

/// A unit that has a cgroup.
#[derive(Debug, Clone)]
struct Unit {
    name: String,
    /// The section with the settings of its cgroup.
    section: &'static str,
}

/// The types of units that have a cgroup, with the sections for its settings: systemd.resource-control(5).
const SECTIONS: [(&str, &str); 6] = [
    (".service", "Service"),
    (".slice", "Slice"),
    (".scope", "Scope"),
    (".socket", "Socket"),
    (".mount", "Mount"),
    (".swap", "Swap"),
];

fn unit(text: &str) -> Result<Unit, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
    {
        return Err("the name of a unit has letters, digits and `:-_.\\@`".to_owned());
    }
    if ["-.slice", "system.slice", "init.scope"].contains(&text) {
        return Err(format!(
            "{text} is there before the program can be pinned; use `knobgate attach --cgroup` for it"
        ));
    }
    if let Some((_, section)) = SECTIONS.iter().find(|(kind, _)| text.ends_with(kind)) {
        return Ok(Unit { name: text.to_owned(), section });
    }
    if [".target", ".timer", ".path", ".device", ".automount"].iter().any(|kind| text.ends_with(kind)) {
        return Err("a unit of this type has no cgroup".to_owned());
    }
    Ok(Unit { name: format!("{text}.service"), section: "Service" })
}

impl SystemdDropin {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let source = ProgramSource::Policy(Box::new(load_policy(&self.policy, output)?));
        let name = match &self.name {
            Some(name) => parse_name(name)?,
            None => parse_name(source.name())
                .map_err(|failure| Failure::usage("give a name with --name").because(failure))?,
        };
        let existing = Attachments::open().ok().flatten();
        let loaded = source.load(existing.as_ref().map(|attachments| (attachments, &name)), output)?;
        let attachments = create_attachments(output)?;
        let pinned = attachments.pin(&name, &loaded)?;
        let path = attachments.program_path(&name);
        output.report(format_args!("{name}: {}", summary(pinned, &source, &path)));
        if let Some(unit) = &self.unit {
            check_hierarchy(output);
            if self.policy.canonicalize().ok().as_deref() != Some(&at_boot(&name)) {
                output.warning(format_args!(
                    "at the next boot, knobgate-program@{name}.service pins {}: have the policy there",
                    at_boot(&name).display()
                ));
            }
            output.raw(drop_in(unit, &name, &path).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where `knobgate-program@NAME.service` has the policy.
pub(super) fn at_boot(name: &AttachmentName) -> PathBuf {
    Path::new(POLICIES).join(format!("{name}.knob"))
}

fn summary(pinned: Pinned, source: &ProgramSource, path: &Path) -> String {
    let path = path.display();
    match pinned {
        Pinned::Unchanged => format!("{source} is already pinned at {path}"),
        Pinned::Replaced { old } => {
            format!("pinned {source} at {path}; units that run keep program {old} until they are restarted")
        }
        _ => format!("pinned {source} at {path}"),
    }
}

/// Warns if systemd does not attach programs here.
fn check_hierarchy(output: &Output) {
    if !Hierarchy::find().is_ok_and(|hierarchy| hierarchy.path() == Path::new("/sys/fs/cgroup")) {
        output.warning(
            "/sys/fs/cgroup is not cgroup v2: systemd attaches programs on the unified hierarchy alone, and the unit would run \
             without the policy; boot with systemd.unified_cgroup_hierarchy=1",
        );
    }
}

fn drop_in(unit: &Unit, name: &AttachmentName, path: &Path) -> String {
    let (Unit { name: unit, section }, path, off) = (unit, path.display(), Off::DIRECTORY);
    format!(
        "{DROP_IN_MARK}, for /etc/systemd/system/{unit}.d/knobgate.conf
[Unit]
Wants=knobgate-program@{name}.service
After=knobgate-program@{name}.service
# Without the program, systemd would start the unit all the same.
AssertPathExists=|{path}
AssertPathExists=|{off}/{name}
AssertPathExists=|{off}/@all
AssertKernelCommandLine=|knobgate=off

[{section}]
BPFProgram=sysctl:{path}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_needs_a_cgroup() {
        let cases = [
            ("nginx", Some(("nginx.service", "Service"))),
            ("getty@tty1.service", Some(("getty@tty1.service", "Service"))),
            ("machine.slice", Some(("machine.slice", "Slice"))),
            ("org.example", Some(("org.example.service", "Service"))),
            ("a\\x2db.mount", Some(("a\\x2db.mount", "Mount"))),
            ("system.slice", None),
            ("network.target", None),
            ("", None),
            ("a b", None),
            ("a/b", None),
            ("a\n[Service]", None),
        ];
        for (text, expected) in cases {
            let unit = unit(text).ok();
            assert_eq!(unit.as_ref().map(|unit| (&*unit.name, unit.section)), expected, "{text:?}");
        }
    }
}
