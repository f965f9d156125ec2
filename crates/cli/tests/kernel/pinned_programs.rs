//! Programs that are pinned for systemd. `.ci/systemd` has systemd attach them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knobgate_kernel::{Cgroup, ProgramFd, attach_until_removed};
use knobgate_testing::{Test, scratch};
use libtest_mimic::Failed;

use crate::attachments::{DENY, may_write, shown_json};
use crate::setting::{DetachOnDrop, attach, expect, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a_pinned_program_is_listed_under_its_name", listed),
    ("an_edited_policy_takes_the_pin_and_no_running_units", edited),
    ("a_name_is_that_of_a_pin_or_of_an_attachment", conflicts),
];

/// Pins a policy, and returns what is printed.
fn pin(file: &Path, name: &str, unit: &str) -> (String, String) {
    let output = expect(0, ["systemd-dropin", "--policy", file.to_str().unwrap(), "--name", name, unit]);
    (stdout(&output), stderr(&output))
}

fn attached(name: &str) -> String {
    let list = stdout(&expect(0, ["list"]));
    list.lines().filter(|line| line.contains(name)).collect::<Vec<_>>().join("\n")
}

/// Attaches the pinned program as systemd does.
fn attach_pinned(name: &str, cgroup: &Cgroup) -> Result<u32, Failed> {
    let id = shown_json(name)["program"].as_u64().ok_or("a program")? as u32;
    attach_until_removed(&ProgramFd::by_id(id)?, cgroup)?;
    Ok(id)
}

fn listed() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-pinned");
    let cgroup = scratch();
    let (drop_in, said) = pin(policy(DENY).path(), "t-pinned", "machine.slice");
    let path = "/sys/fs/bpf/knobgate/t-pinned/program";
    assert!(drop_in.ends_with(&format!("\n[Slice]\nBPFProgram=sysctl:{path}\n")), "{drop_in}");
    assert!(drop_in.contains(&format!("AssertPathExists=|{path}\n")), "{drop_in}");
    assert!(said.contains("have the policy there"), "{said}");
    let (directory, pin) = (fs::metadata("/sys/fs/bpf/knobgate")?, fs::metadata(path)?);
    assert_eq!((directory.uid(), directory.mode() & 0o777, pin.uid()), (0, 0o700, 0));
    assert_eq!(attached("t-pinned"), "t-pinned is pinned for systemd, and on no cgroup now");
    let shown = shown_json("t-pinned");
    assert_eq!((&shown["for_systemd"], &shown["for_containers"]), (&true.into(), &false.into()));

    let program = attach_pinned("t-pinned", &cgroup)?;
    assert!(!may_write(&cgroup));
    let line = attached("t-pinned");
    assert!(line.contains(&format!("t-pinned: program {program} ")) && line.contains("multi mode"), "{line}");
    let doctor = stdout(&expect(0, ["doctor"]));
    assert!(doctor.contains("t-pinned, on 1 cgroup\n"), "{doctor}");
    assert!(doctor.contains("nothing pins it after a reboot"), "{doctor}");

    let detached = stdout(&expect(0, ["detach", "t-pinned"]));
    assert!(detached.contains("keep it until they are stopped"), "{detached}");
    assert!(!may_write(&cgroup));
    let list = stdout(&expect(0, ["list"]));
    assert!(list.contains("policy \"t-attached\", not pinned"), "{list}");
    Ok(())
}

fn edited() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-edited");
    let cgroup = scratch();
    let file = policy(DENY);
    pin(file.path(), "t-edited", "web");
    let old = attach_pinned("t-edited", &cgroup)?;
    let (_, said) = pin(file.path(), "t-edited", "web");
    assert!(said.contains("is already pinned at"), "{said}");
    let (_, said) = pin(policy("policy t-attached\ndefault write allow\n").path(), "t-edited", "web");
    assert!(said.contains(&format!("keep program {old} until they are restarted")), "{said}");
    assert!(!may_write(&cgroup));
    let next = scratch();
    assert_ne!(attach_pinned("t-edited", &next)?, old);
    assert!(may_write(&next));
    Ok(())
}

fn conflicts() -> Result<(), Failed> {
    let _detached = (DetachOnDrop("t-pin"), DetachOnDrop("t-link"));
    let cgroup = scratch();
    let (deny, other) = (policy(DENY), policy("policy t-other\n"));
    pin(deny.path(), "t-pin", "web");
    attach(deny.path(), &cgroup, "t-link");
    let place = cgroup.path().to_str().ok_or("a path")?;
    let other = other.path().to_str().ok_or("a path")?;
    let said = stderr(&expect(2, ["attach", "--policy", other, "--cgroup", place, "--name", "t-pin"]));
    assert!(said.contains("is pinned for systemd"), "{said}");
    let said = stderr(&expect(2, ["systemd-dropin", "--policy", other, "--name", "t-link", "web"]));
    assert!(said.contains("is on cgroups"), "{said}");
    let said = stderr(&expect(2, ["systemd-dropin", "--policy", other, "--name", "web@0123456789ab", "web"]));
    assert!(said.contains("policy for containers"), "{said}");
    Ok(())
}
