use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use knobgate_kernel::{Cgroup, GuardError, Link, ProcessFd, Signal, guard};
use knobgate_testing::{Reaped, RemovedAtLast, eventually, runs, scratch, shell};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, poll};

use crate::stage::{allow, attach, can_write, deny_writes};

pub(crate) const TESTS: &[super::Test] = &[
    ("when_the_holder_is_killed_its_command_ends_and_the_cgroup_goes", killed),
    ("a_guard_that_is_dropped_clears_up", dropped),
    ("a_guard_that_is_dismissed_leaves_all_as_it_is", dismissed),
    ("a_guard_does_not_hear_signals_but_the_last", signals),
    ("the_end_of_a_guard_is_noticed", gone),
];

/// The argument that makes this program one that holds a guard: started, and then killed, by a test.
pub(crate) const HOLDER: &str = "--hold-a-guard";

/// Attaches to a cgroup, has it guarded, starts a command there, and says so.
pub(crate) fn hold(path: &Path) -> ! {
    let cgroup = Cgroup::open(path).expect("the cgroup");
    let (_program, link) = attach(&deny_writes(libc::EPERM), &cgroup);
    let guard = guard(&cgroup, &link).expect("a guard");
    // Its own cgroups go too.
    let inner = cgroup.create("inner").expect("a cgroup");
    let mut outer_command = shell(&cgroup, "exec sleep 1000").spawn().expect("a command");
    let mut inner_command = shell(&inner, "exec sleep 1000").spawn().expect("a command");
    println!("{} {} {} {}", guard.process().get(), link.id(), outer_command.id(), inner_command.id());
    // Killed meanwhile.
    let _ = (outer_command.wait(), inner_command.wait());
    std::process::exit(1);
}

fn killed() -> Result<(), Failed> {
    let parent = scratch();
    let held = parent.create("held")?;
    let _clean = RemovedAtLast(held.path().to_owned());
    let mut holder = Command::new("/proc/self/exe");
    holder.arg(HOLDER).arg(held.path()).stdout(Stdio::piped());
    let mut holder = Reaped(holder.spawn()?);
    let mut line = String::new();
    let mut output = BufReader::new(holder.0.stdout.take().ok_or("no output")?);
    output.read_line(&mut line)?;
    let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [guard, link, outer, inner] = numbers[..] else { return Err(line.into()) };
    assert!([guard, outer, inner].into_iter().all(runs));
    assert!(!can_write(&held));

    holder.0.kill()?;
    holder.0.wait()?;
    eventually("the cgroup is removed", || !held.path().exists());
    assert!(![outer, inner].into_iter().any(runs));
    eventually("the guard ends", || !runs(guard));
    eventually("the link goes", || Link::by_id(link).is_err());
    // Nothing holds our output open.
    line.clear();
    assert_eq!(output.read_line(&mut line)?, 0);
    Ok(())
}

fn dropped() -> Result<(), Failed> {
    let parent = scratch();
    let cgroup = parent.create("guarded")?;
    let (_program, link) = attach(&allow(), &cgroup);
    let guard = guard(&cgroup, &link)?;
    let child = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    drop(guard);
    assert!(!cgroup.path().exists());
    assert!(!runs(child.0.id()));
    Ok(())
}

fn dismissed() -> Result<(), Failed> {
    let cgroup = scratch();
    let (_program, link) = attach(&allow(), &cgroup);
    let guard = guard(&cgroup, &link)?;
    let pid = guard.process().get();
    let child = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    guard.dismiss()?;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was waited for");
    assert!(runs(child.0.id()) && cgroup.path().exists());
    Ok(())
}

fn signals() -> Result<(), Failed> {
    let cgroup = scratch();
    let (_program, link) = attach(&allow(), &cgroup);
    let guard = guard(&cgroup, &link)?;
    let process = ProcessFd::open(guard.process())?;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1] {
        process.send(signal)?;
    }
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", guard.process().get())).map(Iterator::count);
    eventually("it holds what it needs alone", || descriptors().is_ok_and(|count| count == 4));
    std::thread::sleep(Duration::from_millis(50));
    assert!(runs(guard.process().get()));
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{}/comm", guard.process().get()))?.trim(),
        "knobgate-guard"
    );
    guard.dismiss()?;
    Ok(())
}

fn gone() -> Result<(), Failed> {
    let cgroup = scratch();
    let (_program, link) = attach(&allow(), &cgroup);
    let guard = guard(&cgroup, &link)?;
    ProcessFd::open(guard.process())?.send(Signal::KILL)?;
    poll(&mut [PollFd::from_borrowed_fd(guard.as_fd(), PollFlags::IN)], None)?;
    assert!(matches!(guard.dismiss(), Err(GuardError::Gone)));
    Ok(())
}
