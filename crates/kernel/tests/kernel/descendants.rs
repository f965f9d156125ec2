//! What is noticed of the processes that are started in a cgroup: who leaves it, how, and what becomes of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use knobgate_kernel::{
    Cgroup, Departure, Descendants, LostEvents, ScratchCgroup, spawn_inside, start_inside,
};
use knobgate_testing::{Profile, Reaped, eventually, is_running, process_tracking, scratch};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitOptions;

pub(crate) const TESTS: &[super::Test] = &[
    ("a_process_that_is_moved_out_is_noticed", moved),
    ("a_process_that_is_started_elsewhere_is_noticed", started_elsewhere),
    ("what_stays_inside_or_never_was_there_is_not_noticed", inside),
    ("what_a_process_starts_that_has_left_is_outside_too", started_outside),
    ("a_process_that_comes_back_is_inside_again", back),
    ("a_process_leaves_as_a_whole_and_once", whole),
    ("only_what_is_outside_is_killed", killed),
    ("departures_wake_who_waits_for_them", wakes),
    ("more_departures_than_there_is_room_for_are_counted", lost),
];

pub(crate) const VERSION_ONE: &[super::Test] =
    &[("who_is_moved_in_a_hierarchy_of_version_1_has_not_left", version_one)];

/// What the kernel must have, and hierarchies of version 1 as well.
pub(crate) fn version_one_too(profile: &Profile) -> Option<String> {
    let cgroups = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has_one = cgroups.lines().any(|line| line.ends_with("\tcgroup"));
    process_tracking(profile).or_else(|| (!has_one).then(|| "needs cgroups of version 1".to_owned()))
}

/// The argument that makes this program one that starts a command in a cgroup, with clone3(2), for it has one thread.
pub(crate) const STARTER: &str = "--start-elsewhere";

pub(crate) fn start(cgroup: &Path) -> ExitCode {
    let cgroup = Cgroup::open(cgroup).expect("the cgroup");
    let child = spawn_inside(&mut Command::new("true"), &cgroup).expect("a command");
    let ended = child.wait(WaitOptions::empty()).expect("its end");
    ExitCode::from(u8::from(ended.and_then(rustix::process::WaitStatus::exit_status) != Some(0)))
}

/// A cgroup whose processes are followed, and one beside it.
struct Place {
    top: ScratchCgroup,
    held: Cgroup,
    other: Cgroup,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        let top = scratch();
        let (held, other) = (top.create("held")?, top.create("other")?);
        Ok(Self { top, held, other })
    }

    /// A command inside, which finds the cgroups in `$HELD`, `$OTHER` and `$TOP`.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command, Failed> {
        let mut command = Command::new(program);
        command.env("HELD", self.held.path()).env("OTHER", self.other.path()).env("TOP", self.top.path());
        start_inside(&mut command, &self.held)?;
        Ok(command)
    }

    /// A shell inside that does this, to its end.
    fn does(&self, script: &str) -> Result<(), Failed> {
        let status = self.command("sh")?.args(["-c", script]).status()?;
        if status.success() { Ok(()) } else { Err(format!("{script}: {status}").into()) }
    }

    /// A shell inside that has done this and waits.
    fn waits(&self, script: &str) -> Result<Waiting, Failed> {
        let mut command = self.command("sh")?;
        command.args(["-c", &format!("{script}\necho done\nread line")]);
        let mut shell = Reaped(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(shell.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        assert_eq!(line, "done\n", "{script}");
        Ok(Waiting(shell))
    }
}

struct Waiting(Reaped);

impl Waiting {
    fn child(&mut self) -> &mut Child {
        &mut self.0.0
    }

    /// Lets it end.
    fn ends(mut self) -> Result<(), Failed> {
        self.child().stdin.take().ok_or("no input")?.write_all(b"\n")?;
        self.child().wait()?;
        Ok(())
    }
}

/// What is told of a departure, other than the process.
fn told(departures: &[Departure]) -> Vec<(String, u64, bool)> {
    let name = |departure: &Departure| String::from_utf8_lossy(&departure.name).into_owned();
    departures.iter().map(|departure| (name(departure), departure.cgroup, departure.left)).collect()
}

fn moved() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, false)?;
    let mut shell = place.waits("echo 0 >\"$OTHER/cgroup.procs\"")?;
    let departures = descendants.take();
    assert_eq!(told(&departures), [("sh".to_owned(), place.other.id(), true)]);
    assert_eq!(departures[0].process.id.get(), shell.child().id());
    assert_eq!(descendants.outside()?, [departures[0].process]);
    shell.ends()?;
    // It has ended: nothing is outside.
    eventually("it is forgotten", || descendants.outside().is_ok_and(|outside| outside.is_empty()));

    // By somebody else, and to the cgroup above.
    let mut shell = place.waits("true")?;
    std::fs::write(place.top.path().join("cgroup.procs"), shell.child().id().to_string())?;
    assert_eq!(told(&descendants.take()), [("sh".to_owned(), place.top.id(), true)]);
    shell.ends()
}

fn started_elsewhere() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, false)?;
    let mut starter = place.command(std::env::current_exe()?)?;
    let status = starter.arg(STARTER).arg(place.other.path()).status()?;
    assert!(status.success(), "{status}");
    let told = told(&descendants.take());
    let [(_, cgroup, true)] = told.as_slice() else { return Err(format!("{told:?}").into()) };
    assert_eq!(*cgroup, place.other.id());
    assert_eq!(descendants.lost()?.dropped, 0);
    Ok(())
}

fn inside() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, true)?;
    place.does("mkdir \"$HELD/in\" && echo 0 >\"$HELD/in/cgroup.procs\" && (true; true) && (true & wait)")?;
    let status =
        place.command(std::env::current_exe()?)?.arg(STARTER).arg(place.held.path().join("in")).status()?;
    assert!(status.success(), "{status}");
    // Far below.
    place.does(
        "cd \"$HELD\" && for i in $(seq 100); do mkdir x && cd x || exit 1; done; echo 0 >cgroup.procs",
    )?;
    // Somebody who was never there, moved past it.
    let mut stranger = Command::new("true");
    start_inside(&mut stranger, &place.other)?;
    assert!(stranger.status()?.success());
    assert_eq!(told(&descendants.take()), []);
    assert_eq!((descendants.outside()?, descendants.lost()?.dropped), (Vec::new(), 0));
    Ok(())
}

fn started_outside() -> Result<(), Failed> {
    for all in [false, true] {
        let place = Place::new()?;
        let mut descendants = Descendants::of(&place.held, all)?;
        let shell = place.waits("sleep 1000 & echo 0 >\"$OTHER/cgroup.procs\"; sleep 1000 & sleep 1000 &")?;
        let told: Vec<_> =
            told(&descendants.take()).into_iter().map(|(_, cgroup, left)| (cgroup, left)).collect();
        let other = place.other.id();
        let expected: &[_] =
            if all { &[(other, true), (other, false), (other, false)] } else { &[(other, true)] };
        assert_eq!(told, expected);
        // The one that was started before is where it was.
        assert_eq!(descendants.outside()?.len(), 3);
        for process in descendants.outside()? {
            assert!(descendants.kill(process)?, "{process:?}");
        }
        drop(shell);
        eventually("they are gone", || descendants.outside().is_ok_and(|outside| outside.is_empty()));
        place.held.kill()?;
        assert!(place.held.wait_until_empty(std::time::Duration::from_secs(10))?);
    }
    Ok(())
}

fn back() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, true)?;
    let script =
        "for to in \"$OTHER\" \"$TOP\" \"$HELD\" \"$OTHER\" \"$HELD\"; do echo 0 >\"$to/cgroup.procs\"; done";
    let shell = place.waits(script)?;
    // From one place outside to another is no departure.
    let other = place.other.id();
    let cgroups: Vec<_> = told(&descendants.take()).into_iter().map(|(_, cgroup, _)| cgroup).collect();
    assert_eq!(cgroups, [other, other]);
    assert_eq!(descendants.outside()?, []);
    shell.ends()
}

/// The argument that makes this program one that has three threads more and then goes to a cgroup.
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
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, true)?;
    let mut command = place.command(std::env::current_exe()?)?;
    command.arg(THREADED).arg(place.other.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Reaped(command.spawn()?);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert_eq!(line, "done\n");
    let departures = descendants.take();
    let ids: Vec<_> = departures.iter().map(|departure| departure.process.id.get()).collect();
    assert_eq!(ids, [process.0.id()]);
    assert_eq!(descendants.outside()?.len(), 1);
    assert!(descendants.kill(departures[0].process)?);
    process.0.wait()?;
    assert!(!descendants.kill(departures[0].process)?, "it was there no longer");
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, false)?;
    let mut shell = place.waits("echo 0 >\"$OTHER/cgroup.procs\"")?;
    let departures = descendants.take();
    let [Departure { process, .. }] = departures.as_slice() else { return Err("no departure".into()) };
    // Back inside, which the record does not know.
    place.held.enter(process.id)?;
    assert!(!descendants.kill(*process)?);
    assert!(is_running(shell.child().id()));
    place.other.enter(process.id)?;
    assert!(descendants.kill(*process)?);
    shell.child().wait()?;
    Ok(())
}

fn wakes() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, false)?;
    let ready = |descendants: &Descendants, seconds: i64| {
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(&descendants.as_fd(), PollFlags::IN)], Some(&timeout))
    };
    place.does("true")?;
    assert_eq!(ready(&descendants, 0)?, 0);
    place.does("echo 0 >\"$OTHER/cgroup.procs\"")?;
    assert_eq!(ready(&descendants, 10)?, 1);
    assert_eq!(descendants.take().len(), 1);
    assert_eq!(ready(&descendants, 0)?, 0);
    Ok(())
}

fn lost() -> Result<(), Failed> {
    const DEPARTURES: usize = 6000;
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, false)?;
    place.does(&format!(
        "i=0; while [ $i -lt {DEPARTURES} ]; do echo 0 >\"$OTHER/cgroup.procs\"; echo 0 >\"$HELD/cgroup.procs\"; i=$((i + 1)); done"
    ))?;
    let taken = descendants.take();
    let LostEvents { dropped, skipped } = descendants.lost()?;
    let lost = usize::try_from(dropped)?;
    assert!(lost > 0 && !taken.is_empty(), "{lost} and {}", taken.len());
    let all = taken.len() + lost;
    assert!(all <= DEPARTURES && all + usize::try_from(skipped)? >= DEPARTURES, "{all} and {skipped}");
    let processes: BTreeSet<_> = taken.iter().map(|departure| departure.process.id.get()).collect();
    assert_eq!(processes.len(), 1);
    Ok(())
}

fn version_one() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut descendants = Descendants::of(&place.held, true)?;
    // A hierarchy without controllers, which is gone when nothing is in it any longer.
    let script = "at=$(mktemp -d) && mount -t cgroup -o none,name=knobgate-test none \"$at\" && mkdir \"$at/there\" && \
        echo $$ >\"$at/there/cgroup.procs\" && (true; true) && echo $$ >\"$at/cgroup.procs\" && rmdir \"$at/there\" && \
        umount \"$at\" && rmdir \"$at\"";
    place.does(script)?;
    assert_eq!(told(&descendants.take()), []);
    assert_eq!(descendants.outside()?, []);
    Ok(())
}
