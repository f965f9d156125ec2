use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use knobgate_kernel::{
    Cgroup, GuardError, LoadOptions, ProcessFd, ProcessId, Signal, attach_until_removed, guard, load,
};
use knobgate_testing::{Reaped, RemoveOnDrop, eventually, is_running, scratch, shell};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, poll};

use crate::fixtures::{can_write, deny_writes};

pub(crate) const TESTS: &[super::Test] = &[
    ("when_the_parent_is_killed_the_guard_kills_the_command_and_removes_the_cgroup", killed),
    ("when_the_guard_is_killed_too_the_policy_stays_in_force", killed_with_its_guard),
    ("neither_the_parent_nor_the_guard_has_a_bpf_descriptor", nothing_to_take),
    ("a_process_with_equal_capabilities_cannot_trace_a_guard", not_traced),
    ("dropping_a_guard_tears_down_the_cgroup", dropped),
    ("dismissing_a_guard_changes_nothing", dismissed),
    ("a_guard_ignores_all_signals_except_sigkill", signals),
    ("the_death_of_a_guard_is_noticed", gone),
];

/// The argument that makes this program hold a guard. Tests start it and kill it.
pub(crate) const HOLDER: &str = "--hold-a-guard";

/// Attaches a program to a cgroup, starts a guard and commands, and prints their ids.
pub(crate) fn hold(path: &Path) -> ! {
    let cgroup = Cgroup::open(path).expect("the cgroup");
    let loaded = load(&deny_writes(libc::EPERM), &LoadOptions::default()).expect("a program");
    attach_until_removed(&loaded.program, &cgroup).expect("attached");
    drop(loaded);
    let guard = guard(&cgroup).expect("a guard");
    // The guard removes child cgroups, too.
    let inner = cgroup.create("inner").expect("a cgroup");
    let mut outer_command = shell(&cgroup, "exec sleep 1000").spawn().expect("a command");
    let mut inner_command = shell(&inner, "exec sleep 1000").spawn().expect("a command");
    println!("{} {} {}", guard.process().get(), outer_command.id(), inner_command.id());
    // This process is killed here.
    let _ = (outer_command.wait(), inner_command.wait());
    std::process::exit(1);
}

/// A process that holds a guard, with its cgroup and children.
struct Held {
    cgroup: Cgroup,
    _clean: RemoveOnDrop,
    holder: Reaped,
    guard: u32,
    commands: [u32; 2],
    output: BufReader<ChildStdout>,
}

fn held(parent: &Cgroup) -> Result<Held, Failed> {
    held_with(parent, &["env"])
}

/// The same, started through this command.
fn held_with(parent: &Cgroup, starter: &[&str]) -> Result<Held, Failed> {
    let cgroup = parent.create("held")?;
    let clean = RemoveOnDrop(cgroup.path().to_owned());
    let mut holder = Command::new(starter[0]);
    holder
        .args(&starter[1..])
        .arg(std::env::current_exe()?)
        .arg(HOLDER)
        .arg(cgroup.path())
        .stdout(Stdio::piped());
    let mut holder = Reaped(holder.spawn()?);
    let mut line = String::new();
    let mut output = BufReader::new(holder.0.stdout.take().ok_or("no output")?);
    output.read_line(&mut line)?;
    let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [guard, outer, inner] = numbers[..] else { return Err(line.into()) };
    assert!([guard, outer, inner].into_iter().all(is_running));
    assert!(!can_write(&cgroup));
    Ok(Held { cgroup, _clean: clean, holder, guard, commands: [outer, inner], output })
}

fn killed() -> Result<(), Failed> {
    let parent = scratch();
    let mut held = held(&parent)?;
    held.holder.0.kill()?;
    held.holder.0.wait()?;
    eventually("the cgroup is removed", || !held.cgroup.path().exists());
    assert!(!held.commands.into_iter().any(is_running));
    eventually("the guard ends", || !is_running(held.guard));
    // No process has the output open.
    assert_eq!(held.output.read_line(&mut String::new())?, 0);
    Ok(())
}

fn killed_with_its_guard() -> Result<(), Failed> {
    let parent = scratch();
    let mut held = held(&parent)?;
    ProcessFd::open(ProcessId::new(held.guard).ok_or("a process")?)?.send(Signal::KILL)?;
    held.holder.0.kill()?;
    held.holder.0.wait()?;
    eventually("the guard ends", || !is_running(held.guard));
    assert!(held.commands.into_iter().all(is_running));
    assert!(!can_write(&held.cgroup), "the policy is still in force");
    Ok(())
}

fn nothing_to_take() -> Result<(), Failed> {
    let parent = scratch();
    let held = held(&parent)?;
    for pid in [held.holder.0.id(), held.guard] {
        let mut count = 0;
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            let open = std::fs::read_link(entry?.path())?.display().to_string();
            assert!(!open.contains("bpf"), "{pid} has {open}");
            count += 1;
        }
        assert!(count > 0);
    }
    Ok(())
}

/// Tries it with the capabilities of the guard, but without `CAP_SYS_PTRACE`.
fn not_traced() -> Result<(), Failed> {
    const WITHOUT: [&str; 4] = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all", "--"];
    let parent = scratch();
    let held = held_with(&parent, &WITHOUT)?;
    let look = |pid: u32| {
        let mut command = Command::new(WITHOUT[0]);
        command
            .args(&WITHOUT[1..])
            .args(["readlink", &format!("/proc/{pid}/cwd")])
            .stderr(Stdio::null())
            .output()
    };
    assert!(look(held.holder.0.id())?.status.success(), "the holder can be traced");
    assert!(!look(held.guard)?.status.success());
    Ok(())
}

fn dropped() -> Result<(), Failed> {
    let parent = scratch();
    let cgroup = parent.create("guarded")?;
    let guard = guard(&cgroup)?;
    let child = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    drop(guard);
    assert!(!cgroup.path().exists());
    assert!(!is_running(child.0.id()));
    Ok(())
}

fn dismissed() -> Result<(), Failed> {
    let cgroup = scratch();
    let guard = guard(&cgroup)?;
    let pid = guard.process().get();
    let child = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    guard.dismiss()?;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was waited for");
    assert!(is_running(child.0.id()) && cgroup.path().exists());
    Ok(())
}

fn signals() -> Result<(), Failed> {
    let cgroup = scratch();
    let guard = guard(&cgroup)?;
    let process = ProcessFd::open(guard.process())?;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1] {
        process.send(signal)?;
    }
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", guard.process().get())).map(Iterator::count);
    eventually("it has no other descriptors", || descriptors().is_ok_and(|count| count == 3));
    std::thread::sleep(Duration::from_millis(50));
    assert!(is_running(guard.process().get()));
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{}/comm", guard.process().get()))?.trim(),
        "knobgate-guard"
    );
    guard.dismiss()?;
    Ok(())
}

fn gone() -> Result<(), Failed> {
    let cgroup = scratch();
    let guard = guard(&cgroup)?;
    ProcessFd::open(guard.process())?.send(Signal::KILL)?;
    poll(&mut [PollFd::from_borrowed_fd(guard.as_fd(), PollFlags::IN)], None)?;
    assert!(matches!(guard.dismiss(), Err(GuardError::Gone)));
    Ok(())
}
