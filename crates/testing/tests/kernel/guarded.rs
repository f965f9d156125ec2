//! Processes that leave guarded cgroups.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use knobgate_kernel::{
    Cgroup, GuardedCgroups, GuardedDeparture, HowItLeft, ProcessId, StartedProcess, start_inside,
};
use knobgate_testing::{Reaped, Suite, eventually, process_tracking};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions};

use super::descendants::{STARTER, version_one_too};
use super::tracked::{Setup, Waiting};

pub(crate) fn tests() -> Suite {
    let suite = Suite::default().requiring(process_tracking, TESTS);
    suite.requiring(version_one_too, VERSION_ONE).in_module("guarded")
}

const TESTS: &[super::Test] = &[
    ("a_process_that_moves_out_of_a_guarded_cgroup_is_noticed_with_both_ends", moves),
    ("who_moved_a_process_out_is_known", moved_by_another),
    ("a_process_that_was_there_before_the_guard_is_noticed", there_before),
    ("moves_within_a_guarded_cgroup_or_outside_are_not_noticed", not_noticed),
    ("a_process_that_leaves_several_guarded_cgroups_has_a_departure_for_each", nested),
    ("a_process_that_is_cloned_out_of_a_guarded_cgroup_is_noticed_once", cloned),
    ("a_process_with_threads_leaves_once_and_without_its_first_thread_too", with_threads),
    ("a_thread_that_leaves_alone_is_named", one_thread),
    ("deep_cgroups_are_compared_and_too_deep_ones_counted", deep),
    ("departures_that_find_no_room_are_counted_and_found_by_a_rescan", lost),
    ("a_departure_to_another_guarded_cgroup_that_finds_no_room_is_found_by_a_rescan", lost_to_another),
    ("a_guard_within_another_can_come_and_go", within_another),
    ("processes_that_are_started_while_a_guard_is_set_up_are_tracked", busy),
    ("processes_that_are_started_while_a_guard_within_another_is_set_up_are_tracked", busy_within_another),
    ("processes_that_are_moved_while_a_guard_is_set_up_are_tracked_where_they_are", moved_meanwhile),
];

const VERSION_ONE: &[super::Test] =
    &[("a_process_that_is_moved_in_a_v1_hierarchy_stays_in_its_guarded_cgroup", version_one)];

fn id(process: StartedProcess) -> u32 {
    process.id().get()
}

/// The guarded cgroup that was left, the new cgroup, and the guarded cgroup in which that is.
fn ends(departures: &[GuardedDeparture]) -> Vec<(u64, Option<u64>, Option<u64>)> {
    departures.iter().map(|departure| (departure.guarded, departure.to, departure.entered)).collect()
}

/// Moves a process.
fn enter(cgroup: &Cgroup, process: u32) -> Result<(), Failed> {
    Ok(std::fs::write(cgroup.path().join("cgroup.procs"), process.to_string())?)
}

/// Held for writing while a process goes into a cgroup that is too deep: all guards count that, also those of other tests.
static TOO_DEEP: RwLock<()> = RwLock::new(());

/// For a test that says how many events are lost.
fn nothing_too_deep() -> RwLockReadGuard<'static, ()> {
    TOO_DEEP.read().unwrap_or_else(PoisonError::into_inner)
}

fn moves() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let ready = |guards: &GuardedCgroups| {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&guards.as_fd(), PollFlags::IN)], Some(&at_once))
    };
    assert_eq!(ready(&guards)?, 0);
    let shell = setup.start("echo 0 >\"$OTHER/cgroup.procs\"")?;
    assert_eq!(ready(&guards)?, 1);
    let departures = guards.take();
    assert_eq!(ready(&guards)?, 0);
    let [departure] = departures.as_slice() else { return Err(format!("{departures:?}").into()) };
    assert_eq!(ends(&departures), [(setup.held.id(), Some(setup.other.id()), None)]);
    let process = departure.process;
    assert_eq!((process.id().get(), process.is_running(), &*departure.name), (shell.id(), true, &b"sh"[..]));
    assert_eq!(departure.thread, None);
    let HowItLeft::Moved(mover) = &departure.how else { return Err(format!("{departure:?}").into()) };
    assert_eq!((mover.process, &*mover.name, mover.uid), (Some(process), &b"sh"[..], 0));
    assert_eq!(mover.cgroup, setup.other.id());
    assert_eq!(guards.lost()?.dropped, 0);
    shell.finish()?;
    assert!(!process.is_running());
    Ok(())
}

fn moved_by_another() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let shell = setup.start("true")?;
    enter(&setup.top, shell.id())?;
    let departures = guards.take();
    let [departure] = departures.as_slice() else { return Err(format!("{departures:?}").into()) };
    assert_eq!(id(departure.process), shell.id());
    let HowItLeft::Moved(mover) = &departure.how else { return Err(format!("{departure:?}").into()) };
    assert_eq!(mover.process.map(id), Some(std::process::id()));
    assert_eq!(mover.cgroup, Cgroup::of_this_process()?.id());
    shell.finish()
}

fn there_before() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    let shell = setup.start("true")?;
    guards.add(&setup.held)?;
    enter(&setup.other, shell.id())?;
    assert_eq!(guards.take().len(), 1);
    // Not guarded any more.
    enter(&setup.held, shell.id())?;
    guards.remove(setup.held.id())?;
    enter(&setup.other, shell.id())?;
    assert_eq!(guards.take(), []);
    shell.finish()
}

fn not_noticed() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    let below = setup.held.create("below")?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let shell = setup.start("(true; true) & wait")?;
    for cgroup in [&below, &setup.held, &setup.held, &below] {
        enter(cgroup, shell.id())?;
    }
    let status = setup.command(std::env::current_exe()?)?.arg(STARTER).arg(below.path()).status()?;
    assert!(status.success(), "{status}");
    let mut outside = Command::new("true");
    start_inside(&mut outside, &setup.other)?;
    assert!(outside.status()?.success());
    let mut from_outside = Command::new(std::env::current_exe()?);
    assert!(from_outside.arg(STARTER).arg(setup.held.path()).status()?.success());
    assert_eq!((guards.take(), guards.lost()?.dropped), (Vec::new(), 0));
    shell.finish()
}

fn nested() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let inner = setup.held.create("inner")?;
    let innermost = inner.create("innermost")?;
    let mut guards = GuardedCgroups::new()?;
    let (held, other) = (setup.held.id(), setup.other.id());
    for guarded in [&setup.held, &inner, &setup.other] {
        guards.add(guarded)?;
    }
    let shell = setup.start("true")?;
    let expected: [(&Cgroup, &[_]); 5] = [
        (&innermost, &[]),
        (&setup.other, &[(inner.id(), Some(other), Some(other)), (held, Some(other), Some(other))]),
        (&innermost, &[(other, Some(innermost.id()), Some(inner.id()))]),
        (&setup.held, &[(inner.id(), Some(held), Some(held))]),
        (&setup.top, &[(held, Some(setup.top.id()), None)]),
    ];
    for (to, expected) in expected {
        enter(to, shell.id())?;
        assert_eq!(ends(&guards.take()), expected, "to {}", to.path().display());
    }
    shell.finish()
}

fn cloned() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let mut starter = setup.command(std::env::current_exe()?)?;
    let mut starter = starter.arg(STARTER).arg(setup.other.path()).spawn()?;
    assert!(starter.wait()?.success());
    let departures = guards.take();
    let [departure] = departures.as_slice() else { return Err(format!("{departures:?}").into()) };
    assert_eq!(ends(&departures), [(setup.held.id(), Some(setup.other.id()), None)]);
    let HowItLeft::Started(parent) = &departure.how else { return Err(format!("{departure:?}").into()) };
    assert_eq!((parent.process.map(id), parent.cgroup), (Some(starter.id()), setup.held.id()));
    assert_ne!(id(departure.process), starter.id());
    Ok(())
}

/// The argument that makes this program start two threads, and end its first one if asked to.
pub(crate) const THREADS: &str = "--with-threads";

pub(crate) fn start_threads(without_first: &str) -> ExitCode {
    let finish = || -> ! {
        println!("done");
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0)
    };
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _sender = sender;
        loop {
            std::thread::park();
        }
    });
    if without_first == "yes" {
        std::thread::spawn(move || {
            let leader = format!("/proc/{}/stat", std::process::id());
            while !std::fs::read_to_string(&leader).is_ok_and(|stat| stat.contains(") Z ")) {
                std::thread::yield_now();
            }
            finish()
        });
        knobgate_kernel::test_util::exit_thread()
    }
    drop(receiver);
    finish()
}

fn with_threads() -> Result<(), Failed> {
    for without_first in ["no", "yes"] {
        let setup = Setup::new()?;
        let mut guards = GuardedCgroups::new()?;
        guards.add(&setup.held)?;
        let mut command = setup.command(std::env::current_exe()?)?;
        command.args([THREADS, without_first]);
        let process = Waiting::start(command)?;
        enter(&setup.other, process.id())?;
        // Within the outside.
        enter(&setup.top, process.id())?;
        let departures = guards.take();
        assert_eq!(
            ends(&departures),
            [(setup.held.id(), Some(setup.other.id()), None)],
            "without its first thread: {without_first}"
        );
        assert_eq!((id(departures[0].process), departures[0].thread), (process.id(), None));
        process.finish()?;
    }
    Ok(())
}

fn one_thread() -> Result<(), Failed> {
    let setup = Setup::new()?;
    for cgroup in [&setup.held, &setup.other] {
        std::fs::write(cgroup.path().join("cgroup.type"), "threaded")?;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args([THREADS, "no"]);
    start_inside(&mut command, &setup.top)?;
    let process = Waiting::start(command)?;
    enter(&setup.held, process.id())?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let task = |thread: &str| format!("/proc/{}/task/{thread}", process.id());
    let threads = std::fs::read_dir(task(""))?
        .map(|thread| Ok(thread?.file_name().to_string_lossy().parse()?))
        .collect::<Result<BTreeSet<u32>, Failed>>()?;
    let thread = threads.iter().copied().find(|&thread| thread != process.id()).ok_or("no second thread")?;
    std::fs::write(setup.other.path().join("cgroup.threads"), thread.to_string())?;
    enter(&setup.top, process.id())?;
    let departures = guards.take();
    let (held, other, top) = (setup.held.id(), setup.other.id(), setup.top.id());
    assert_eq!(ends(&departures), [(held, Some(other), None), (held, Some(top), None)]);
    let threads: Vec<_> = departures.iter().map(|departure| departure.thread.map(ProcessId::get)).collect();
    assert_eq!(threads, [Some(thread), None]);
    assert!(departures.iter().all(|departure| id(departure.process) == process.id()));
    process.finish()
}

fn deep() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let script = |levels: u32| {
        format!(
            "cd \"$HELD\" && for i in $(seq {levels}); do mkdir x && cd x || exit 1; done; echo 0 >cgroup.procs"
        )
    };
    let shell = setup.start(&script(100))?;
    enter(&setup.other, shell.id())?;
    let departures = guards.take();
    assert_eq!(departures.iter().map(|departure| departure.guarded).collect::<Vec<_>>(), [setup.held.id()]);
    assert_eq!(guards.lost()?.dropped, 0);
    shell.finish()?;

    let setup = Setup::new()?;
    guards.add(&setup.held)?;
    let starter = format!("{}\n(while :; do (:); done) &", script(140));
    let alone = TOO_DEEP.write().unwrap_or_else(PoisonError::into_inner);
    let shell = setup.start(&starter)?;
    drop(alone);
    assert_eq!((guards.take(), guards.lost()?.dropped), (Vec::new(), 1));
    enter(&setup.other, shell.id())?;
    assert_eq!((guards.take().len(), guards.lost()?.dropped), (1, 1));

    // Those that are started outside while a guard is set up are not.
    let mut guards = GuardedCgroups::new()?;
    for _ in 0..200 {
        guards.add(&setup.other)?;
        guards.remove(setup.other.id())?;
    }
    assert_eq!(guards.lost()?.dropped, 0);
    shell.finish()
}

/// Moves a process out and in so many times, so that there is no room for more departures.
fn fill(setup: &Setup) -> Result<(), Failed> {
    setup.run(&format!("i=0; while [ $i -lt {DEPARTURES} ]; do echo 0 >\"$OTHER/cgroup.procs\"; echo 0 >\"$HELD/cgroup.procs\"; i=$((i + 1)); done"))
}

const DEPARTURES: usize = 6000;

fn lost() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    let (shell, staying) = (setup.start("true")?, setup.start("true")?);
    assert_eq!(guards.rescan()?, []);
    fill(&setup)?;
    enter(&setup.other, shell.id())?;
    let taken = guards.take();
    let dropped = usize::try_from(guards.lost()?.dropped)?;
    assert!(dropped > 0 && !taken.is_empty() && taken.len() + dropped == DEPARTURES + 1, "{dropped}");
    assert!(taken.iter().all(|departure| id(departure.process) != shell.id()));

    let found = guards.rescan()?;
    let [departure] = found.as_slice() else { return Err(format!("{found:?}").into()) };
    assert_eq!((id(departure.process), &*departure.name), (shell.id(), &b"sh"[..]));
    assert_eq!(ends(&found), [(setup.held.id(), Some(setup.other.id()), None)]);
    assert_eq!(departure.how, HowItLeft::Found);
    // Neither again, nor one that `take` has returned.
    enter(&setup.other, staying.id())?;
    assert_eq!(guards.take().len(), 1);
    assert_eq!(guards.rescan()?, []);
    shell.finish()?;
    staying.finish()
}

fn lost_to_another() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let (held, other, top) = (setup.held.id(), setup.other.id(), setup.top.id());
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    guards.add(&setup.other)?;
    let shell = setup.start("true")?;
    fill(&setup)?;
    enter(&setup.other, shell.id())?;
    assert!(guards.take().iter().all(|departure| id(departure.process) != shell.id()));
    let found = guards.rescan()?;
    assert_eq!(ends(&found), [(held, Some(other), Some(other))]);
    assert_eq!((id(found[0].process), &found[0].how), (shell.id(), &HowItLeft::Found));
    enter(&setup.top, shell.id())?;
    assert_eq!(ends(&guards.take()), [(other, Some(top), None)]);
    assert_eq!(guards.rescan()?, []);
    shell.finish()
}

fn within_another() -> Result<(), Failed> {
    let setup = Setup::new()?;
    let inner = setup.held.create("inner")?;
    let mut guards = GuardedCgroups::new()?;
    let shell = setup.start("true")?;
    enter(&inner, shell.id())?;
    guards.add(&setup.held)?;
    guards.add(&inner)?;
    guards.add(&inner)?;
    enter(&setup.held, shell.id())?;
    assert_eq!(ends(&guards.take()), [(inner.id(), Some(setup.held.id()), Some(setup.held.id()))]);
    enter(&inner, shell.id())?;
    guards.remove(inner.id())?;
    enter(&setup.held, shell.id())?;
    assert_eq!(ends(&guards.take()), []);
    enter(&setup.other, shell.id())?;
    assert_eq!(ends(&guards.take()), [(setup.held.id(), Some(setup.other.id()), None)]);
    assert_eq!(guards.ids().collect::<Vec<_>>(), [setup.held.id()]);
    shell.finish()
}

fn busy() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    started_meanwhile(&setup, &mut GuardedCgroups::new()?, "/run/knobgate-test-chain")
}

fn busy_within_another() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.top)?;
    started_meanwhile(&setup, &mut guards, "/run/knobgate-test-inner-chain")
}

fn started_meanwhile(setup: &Setup, guards: &mut GuardedCgroups, script: &str) -> Result<(), Failed> {
    let stop = format!("{script}-stop");
    // Each shell starts the next one and ends.
    std::fs::write(script, format!("[ -e {stop} ] && {{ sleep 1000 & exit; }}\nsh {script} &\n"))?;
    let chains = 4;
    for _ in 0..chains {
        assert!(setup.command("sh")?.arg(script).status()?.success());
    }
    guards.add(&setup.held)?;
    std::fs::write(&stop, "")?;
    let sleeping = || -> Result<Vec<u32>, Failed> {
        let mut all = setup.held.procs()?;
        all.retain(|id| std::fs::read(format!("/proc/{id}/comm")).is_ok_and(|name| name == b"sleep\n"));
        Ok(all)
    };
    eventually("the chains end", || sleeping().is_ok_and(|sleeping| sleeping.len() == chains));
    let processes = sleeping()?;
    processes.iter().try_for_each(|&process| enter(&setup.other, process))?;
    let departures = guards.take();
    assert!(departures.iter().all(|departure| departure.guarded == setup.held.id()), "{departures:?}");
    let left: Vec<_> = departures.iter().map(|departure| id(departure.process)).collect();
    assert_eq!((left, guards.lost()?.dropped), (processes, 0));
    setup.other.kill()?;
    assert!(setup.other.wait_until_empty(std::time::Duration::from_secs(10))?);
    std::fs::remove_file(stop)?;
    Ok(())
}

fn moved_meanwhile() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    let mut movers = Vec::new();
    for _ in 0..4 {
        let mut mover = setup.command("sh")?;
        mover.args([
            "-c",
            "while :; do echo 0 >\"$OTHER/cgroup.procs\"; sleep 1000 & echo 0 >\"$HELD/cgroup.procs\"; done",
        ]);
        movers.push(Reaped(mover.spawn()?));
    }
    for round in 0..20 {
        guards.add(&setup.held)?;
        for mover in &movers {
            ProcessId::of_child(&mover.0).send(Signal::STOP)?;
            ProcessId::of_child(&mover.0).wait(WaitOptions::UNTRACED)?;
        }
        guards.take();
        let inside = setup.held.procs()?;
        for mover in &movers {
            enter(&setup.top, mover.0.id())?;
        }
        let left: BTreeSet<u32> = guards.take().iter().map(|departure| id(departure.process)).collect();
        assert_eq!(left, inside.into_iter().collect(), "round {round}");
        assert_eq!(guards.lost()?.dropped, 0);
        // None of those that were started outside counts as inside.
        assert_eq!(guards.rescan()?, [], "round {round}");
        guards.remove(setup.held.id())?;
        setup.other.kill()?;
        assert!(setup.other.wait_until_empty(std::time::Duration::from_secs(10))?);
        for mover in &movers {
            ProcessId::of_child(&mover.0).send(Signal::CONT)?;
        }
    }
    Ok(())
}

fn version_one() -> Result<(), Failed> {
    let _shallow = nothing_too_deep();
    let setup = Setup::new()?;
    let mut guards = GuardedCgroups::new()?;
    guards.add(&setup.held)?;
    // A hierarchy without controllers, which vanishes when it is empty.
    let script = "at=$(mktemp -d) && mount -t cgroup -o none,name=knobgate-test none \"$at\" && mkdir \"$at/there\" && \
        echo $$ >\"$at/there/cgroup.procs\" && (true; true) && echo $$ >\"$at/cgroup.procs\" && rmdir \"$at/there\" && \
        umount \"$at\" && rmdir \"$at\"";
    let status = setup.command("sh")?.args(["-c", script]).status()?;
    assert!(status.success(), "{status}");
    assert_eq!((guards.take(), guards.lost()?.dropped), (Vec::new(), 0));
    Ok(())
}
