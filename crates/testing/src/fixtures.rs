//! The kernel, cgroups and commands that tests use.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use knobgate_hook::Profile;
use knobgate_kernel::{Cgroup, Hierarchy, Namespaces, ScratchCgroup, start_inside, with_private_namespaces};
use knobgate_snapshot::running_profile;
use libtest_mimic::Failed;

/// The profile of the running kernel.
pub fn profile() -> Profile {
    static PROFILE: OnceLock<Profile> = OnceLock::new();
    *PROFILE.get_or_init(running_profile)
}

/// The topmost mounted cgroup.
///
/// # Panics
///
/// It cannot be opened.
pub fn root() -> Cgroup {
    Hierarchy::find().and_then(|hierarchy| hierarchy.root()).expect("the root cgroup")
}

/// How the names of cgroups for tests start.
pub(crate) const PREFIX: &str = "knobgate-test-";

/// A cgroup for one test, `knobgate-test-…`.
///
/// # Panics
///
/// It cannot be created.
pub fn scratch() -> ScratchCgroup {
    ScratchCgroup::create(&root(), PREFIX).expect("a scratch cgroup")
}

/// A shell inside `cgroup` that runs `script`, with new network, UTS and IPC namespaces.
///
/// # Panics
///
/// The `cgroup.procs` of the cgroup cannot be opened.
pub fn shell(cgroup: &Cgroup, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    start_inside(&mut command, cgroup).expect("cgroup.procs");
    with_private_namespaces(
        &mut command,
        Namespaces { net: true, uts: true, ipc: true, ..Namespaces::default() },
    );
    command
}

/// Runs a script in `cgroup`, and in the namespaces of the test. Returns the process id that its shell had.
///
/// # Errors
///
/// It cannot be started.
///
/// # Panics
///
/// It fails.
pub fn run_in(cgroup: &Cgroup, script: &str) -> Result<u32, Failed> {
    let mut command = Command::new("sh");
    start_inside(command.args(["-c", script]), cgroup)?;
    let mut child = command.spawn()?;
    assert!(child.wait()?.success(), "{script}");
    Ok(child.id())
}

/// Removes a cgroup on drop, if the code under test has not.
#[derive(Debug)]
pub struct RemoveOnDrop(pub PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.0) {
            let _ = cgroup.kill_and_remove();
        }
    }
}
