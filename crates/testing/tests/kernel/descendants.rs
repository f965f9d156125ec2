//! Tracking the processes that are started in a cgroup.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use knobgate_kernel::{Cgroup, Departure, Descendants, LostEvents, spawn_inside, start_inside};
use knobgate_testing::{Profile, Reaped, eventually, is_running, process_tracking};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitOptions;

use super::tracked::Setup;

pub(crate) const TESTS: &[super::Test] = &[
    ("a_process_that_is_moved_out_is_noticed", moved),
    ("a_process_that_is_cloned_into_another_cgroup_is_noticed", started_elsewhere),
    ("processes_that_stay_inside_or_never_were_there_are_not_noticed", inside),
    ("children_of_a_process_that_has_left_are_outside_too", started_outside),
    ("a_process_that_comes_back_is_inside_again", back),
    ("a_process_with_several_threads_leaves_once", whole),
    ("only_processes_outside_are_killed", killed),
    ("a_departure_makes_the_descriptor_readable", wakes),
    ("dropped_departures_are_counted", lost),
];

pub(crate) const VERSION_ONE: &[super::Test] =
    &[("a_process_that_is_moved_in_a_v1_hierarchy_has_not_left", version_one)];

/// Requires v1 hierarchies, too.
pub(crate) fn version_one_too(profile: &Profile) -> Option<String> {
    let cgroups = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has_one = cgroups.lines().any(|line| line.ends_with("\tcgroup"));
    process_tracking(profile).or_else(|| (!has_one).then(|| "needs cgroup v1".to_owned()))
}

/// The argument that makes this program start a command in a cgroup. With its single thread, it uses clone3(2).
pub(crate) const STARTER: &str = "--start-elsewhere";

pub(crate) fn start(cgroup: &Path) -> ExitCode {
    let cgroup = Cgroup::open(cgroup).expect("the cgroup");
    let child = spawn_inside(&mut Command::new("true"), &cgroup).expect("a command");
    let ended = child.wait(WaitOptions::empty()).expect("its end");
    ExitCode::from(u8::from(ended.and_then(rustix::process::WaitStatus::exit_status) != Some(0)))
}

/// The departures without the process.
fn summary(departures: &[Departure]) -> Vec<(String, u64, bool)> {
    let name = |departure: &Departure| String::from_utf8_lossy(&departure.name).into_owned();
    departures.iter().map(|departure| (name(departure), departure.cgroup, departure.left)).collect()
}

fn moved() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, false)?;
    let mut shell = setup.start("echo 0 >\"$OTHER/cgroup.procs\"")?;
    let departures = descendants.take();
    assert_eq!(summary(&departures), [("sh".to_owned(), setup.other.id(), true)]);
    assert_eq!(departures[0].process.id().get(), shell.child().id());
    assert_eq!(descendants.outside()?, [departures[0].process]);
    shell.finish()?;
    // It has ended: nothing is outside.
    eventually("its end is noticed", || descendants.outside().is_ok_and(|outside| outside.is_empty()));

    // Another process moves it, to the parent.
    let mut shell = setup.start("true")?;
    std::fs::write(setup.top.path().join("cgroup.procs"), shell.child().id().to_string())?;
    assert_eq!(summary(&descendants.take()), [("sh".to_owned(), setup.top.id(), true)]);
    shell.finish()
}

fn started_elsewhere() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, false)?;
    let mut starter = setup.command(std::env::current_exe()?)?;
    let status = starter.arg(STARTER).arg(setup.other.path()).status()?;
    assert!(status.success(), "{status}");
    let found = summary(&descendants.take());
    let [(_, cgroup, true)] = found.as_slice() else { return Err(format!("{found:?}").into()) };
    assert_eq!(*cgroup, setup.other.id());
    assert_eq!(descendants.lost()?.dropped, 0);
    Ok(())
}

fn inside() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, true)?;
    setup.run("mkdir \"$HELD/in\" && echo 0 >\"$HELD/in/cgroup.procs\" && (true; true) && (true & wait)")?;
    let status =
        setup.command(std::env::current_exe()?)?.arg(STARTER).arg(setup.held.path().join("in")).status()?;
    assert!(status.success(), "{status}");
    // Deeply nested.
    setup.run(
        "cd \"$HELD\" && for i in $(seq 100); do mkdir x && cd x || exit 1; done; echo 0 >cgroup.procs",
    )?;
    // A process that never was inside.
    let mut unrelated = Command::new("true");
    start_inside(&mut unrelated, &setup.other)?;
    assert!(unrelated.status()?.success());
    assert_eq!(summary(&descendants.take()), []);
    assert_eq!((descendants.outside()?, descendants.lost()?.dropped), (Vec::new(), 0));
    Ok(())
}

fn started_outside() -> Result<(), Failed> {
    for all in [false, true] {
        let setup = Setup::new()?;
        let mut descendants = Descendants::of(&setup.held, all)?;
        let shell = setup.start("sleep 1000 & echo 0 >\"$OTHER/cgroup.procs\"; sleep 1000 & sleep 1000 &")?;
        let found: Vec<_> =
            summary(&descendants.take()).into_iter().map(|(_, cgroup, left)| (cgroup, left)).collect();
        let other = setup.other.id();
        let expected: &[_] =
            if all { &[(other, true), (other, false), (other, false)] } else { &[(other, true)] };
        assert_eq!(found, expected);
        // The one that was started first stays inside.
        assert_eq!(descendants.outside()?.len(), 3);
        for process in descendants.outside()? {
            assert!(descendants.kill(process)?, "{process:?}");
        }
        drop(shell);
        eventually("they are gone", || descendants.outside().is_ok_and(|outside| outside.is_empty()));
        setup.held.kill()?;
        assert!(setup.held.wait_until_empty(std::time::Duration::from_secs(10))?);
    }
    Ok(())
}

fn back() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, true)?;
    let script =
        "for to in \"$OTHER\" \"$TOP\" \"$HELD\" \"$OTHER\" \"$HELD\"; do echo 0 >\"$to/cgroup.procs\"; done";
    let shell = setup.start(script)?;
    // Moving between cgroups outside is not a departure.
    let other = setup.other.id();
    let cgroups: Vec<_> = summary(&descendants.take()).into_iter().map(|(_, cgroup, _)| cgroup).collect();
    assert_eq!(cgroups, [other, other]);
    assert_eq!(descendants.outside()?, []);
    shell.finish()
}

/// The argument that makes this program start three threads and then move to a cgroup.
pub(crate) const THREADED: &str = "--leave-with-threads";

pub(crate) fn leave_with_threads(cgroup: &Path) -> ExitCode {
    for _ in 0..3 {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
    std::fs::write(cgroup.join("cgroup.procs"), "0").expect("moved");
    println!("done");
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn whole() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, true)?;
    let mut command = setup.command(std::env::current_exe()?)?;
    command.arg(THREADED).arg(setup.other.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Reaped(command.spawn()?);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert_eq!(line, "done\n");
    let departures = descendants.take();
    let ids: Vec<_> = departures.iter().map(|departure| departure.process.id().get()).collect();
    assert_eq!(ids, [process.0.id()]);
    assert_eq!(descendants.outside()?.len(), 1);
    assert!(descendants.kill(departures[0].process)?);
    process.0.wait()?;
    assert!(!descendants.kill(departures[0].process)?, "it has ended");
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, false)?;
    let mut shell = setup.start("echo 0 >\"$OTHER/cgroup.procs\"")?;
    let departures = descendants.take();
    let [Departure { process, .. }] = departures.as_slice() else { return Err("no departure".into()) };
    // It is back inside after the record was written.
    setup.held.enter(process.id())?;
    assert!(!descendants.kill(*process)?);
    assert!(is_running(shell.child().id()));
    setup.other.enter(process.id())?;
    assert!(descendants.kill(*process)?);
    shell.child().wait()?;
    Ok(())
}

fn wakes() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, false)?;
    let ready = |descendants: &Descendants, seconds: i64| {
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(&descendants.as_fd(), PollFlags::IN)], Some(&timeout))
    };
    setup.run("true")?;
    assert_eq!(ready(&descendants, 0)?, 0);
    setup.run("echo 0 >\"$OTHER/cgroup.procs\"")?;
    assert_eq!(ready(&descendants, 10)?, 1);
    assert_eq!(descendants.take().len(), 1);
    assert_eq!(ready(&descendants, 0)?, 0);
    Ok(())
}

fn lost() -> Result<(), Failed> {
    const DEPARTURES: usize = 6000;
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, false)?;
    setup.run(&format!(
        "i=0; while [ $i -lt {DEPARTURES} ]; do echo 0 >\"$OTHER/cgroup.procs\"; echo 0 >\"$HELD/cgroup.procs\"; i=$((i + 1)); done"
    ))?;
    let taken = descendants.take();
    let LostEvents { dropped, skipped, .. } = descendants.lost()?;
    let lost = usize::try_from(dropped)?;
    assert!(lost > 0 && !taken.is_empty(), "{lost} and {}", taken.len());
    let all = taken.len() + lost;
    assert!(all <= DEPARTURES && all + usize::try_from(skipped)? >= DEPARTURES, "{all} and {skipped}");
    let processes: BTreeSet<_> = taken.iter().map(|departure| departure.process.id().get()).collect();
    assert_eq!(processes.len(), 1);
    Ok(())
}

fn version_one() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut descendants = Descendants::of(&setup.held, true)?;
    // A hierarchy without controllers, which vanishes when it is empty.
    let script = "at=$(mktemp -d) && mount -t cgroup -o none,name=knobgate-test none \"$at\" && mkdir \"$at/there\" && \
        echo $$ >\"$at/there/cgroup.procs\" && (true; true) && echo $$ >\"$at/cgroup.procs\" && rmdir \"$at/there\" && \
        umount \"$at\" && rmdir \"$at\"";
    setup.run(script)?;
    assert_eq!(summary(&descendants.take()), []);
    assert_eq!(descendants.outside()?, []);
    Ok(())
}
