//! Where tests play: the kernel, and cgroups of their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use knobgate_hook::Profile;
use knobgate_kernel::{Cgroup, Hierarchy, Namespaces, ScratchCgroup, start_inside, with_private_namespaces};
use knobgate_snapshot::running_profile;

/// The kernel that the tests run on, for the model to be.
pub fn profile() -> Profile {
    static PROFILE: OnceLock<Profile> = OnceLock::new();
    *PROFILE.get_or_init(running_profile)
}

/// The root of the hierarchy, as far as it is mounted here.
///
/// # Panics
///
/// If it cannot be opened.
pub fn root() -> Cgroup {
    Hierarchy::find().and_then(|hierarchy| hierarchy.root()).expect("the root cgroup")
}

/// A cgroup for one test, `knobgate-test-…`.
///
/// # Panics
///
/// If it cannot be created.
pub fn scratch() -> ScratchCgroup {
    ScratchCgroup::create(&root(), "knobgate-test-").expect("a scratch cgroup")
}

/// A shell inside `cgroup` that runs `script`, with network, host and domain name, and System V IPC of its own.
///
/// # Panics
///
/// If the cgroup cannot be entered by anybody.
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

/// Removes a cgroup, that the code under test should have removed, in the end.
#[derive(Debug)]
pub struct RemovedAtLast(pub PathBuf);

impl Drop for RemovedAtLast {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.0) {
            let _ = cgroup.kill_and_remove();
        }
    }
}
