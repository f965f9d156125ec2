use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use knobgate_kernel::{Cgroup, Namespaces, host_netns, spawn_inside, start_inside, with_private_namespaces};
use knobgate_testing::scratch;
use libtest_mimic::Failed;
use rustix::process::WaitOptions;

pub(crate) const TESTS: &[super::Test] = &[
    ("a_command_is_inside_from_its_first_instruction", inside),
    ("with_several_threads_a_command_enters_before_its_first_instruction", entered),
    ("a_command_has_the_namespaces_it_was_given", namespaces),
    ("only_the_initial_network_namespace_shows_what_all_share", initial_netns),
    ("mounts_of_a_command_do_not_propagate", mounts),
    ("a_command_that_cannot_get_in_does_not_start", not_inside),
];

fn inside() -> Result<(), Failed> {
    let cgroup = scratch();
    let mut command = print_cgroup();
    start_inside(&mut command, &cgroup)?;
    let output = command.output()?;
    assert!(names(&output.stdout, &cgroup), "{output:?}");
    Ok(())
}

pub(crate) fn print_cgroup() -> Command {
    let mut command = Command::new("cat");
    command.arg("/proc/self/cgroup");
    command
}

fn entered() -> Result<(), Failed> {
    let cgroup = scratch();
    let (mut read, write) = std::io::pipe()?;
    let mut command = print_cgroup();
    command.stdout(write);
    let child = spawn_inside(&mut command, &cgroup)?;
    drop(command);
    let mut text = Vec::new();
    read.read_to_end(&mut text)?;
    assert!(names(&text, &cgroup), "{}", String::from_utf8_lossy(&text));
    child.wait(WaitOptions::empty())?;
    Ok(())
}

/// Whether a `/proc/PID/cgroup` says that the process is in `cgroup`.
pub(crate) fn names(text: &[u8], cgroup: &Cgroup) -> bool {
    let name = cgroup.path().file_name().unwrap_or_default().to_string_lossy();
    String::from_utf8_lossy(text).lines().any(|line| line.starts_with("0::") && line.ends_with(&*name))
}

fn namespaces() -> Result<(), Failed> {
    let ours = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}"));
    for name in ["net", "uts", "ipc", "mnt"] {
        let mut command = Command::new("readlink");
        command.arg(format!("/proc/self/ns/{name}"));
        let [net, uts, ipc, mount] = ["net", "uts", "ipc", "mnt"].map(|one| one == name);
        with_private_namespaces(&mut command, Namespaces { net, uts, ipc, mount });
        let theirs = String::from_utf8(command.output()?.stdout)?;
        assert_ne!(theirs.trim(), ours(name)?.to_string_lossy(), "{name}");
        assert!(theirs.starts_with(name), "{theirs}");
    }
    Ok(())
}

/// By this, a process finds that it is in the initial network namespace where it cannot see that of other processes.
fn initial_netns() -> Result<(), Failed> {
    let own = std::fs::metadata("/proc/self/ns/net")?.ino();
    let is_initial = host_netns().is_ok_and(|host| u64::from(host) == own);
    for net in [false, true] {
        let mut command = Command::new("test");
        command.args(["-e", "/proc/sys/net/core/netdev_budget"]);
        with_private_namespaces(&mut command, Namespaces { net, ..Namespaces::default() });
        assert_eq!(command.status()?.success(), is_initial && !net);
    }
    Ok(())
}

fn mounts() -> Result<(), Failed> {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "knobgate-test", "/mnt"]);
    with_private_namespaces(&mut command, Namespaces { mount: true, ..Namespaces::default() });
    assert!(command.status()?.success());
    assert!(!std::fs::read_to_string("/proc/self/mountinfo")?.contains("knobgate-test"));
    Ok(())
}

fn not_inside() -> Result<(), Failed> {
    let cgroup = scratch();
    let gone = cgroup.create("gone")?;
    let mut command = Command::new("true");
    start_inside(&mut command, &gone)?;
    gone.remove()?;
    let error = command.spawn().expect_err("there is no cgroup to start in");
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    Ok(())
}
