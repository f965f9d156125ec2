//! `knobgate agent` while something goes wrong.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use knobgate_bpf::{Insn, Program, Reg, Width};
use knobgate_kernel::{Link, LoadOptions, LoadedProgram, ProcessId, Signal, load};
use knobgate_testing::{Reaped, Suite, Test, deny_inotify_watches, eventually, profile, shell};
use libtest_mimic::Failed;
use rustix::fs::{FlockOperation, flock};

use crate::agent_machine::{AgentMachine, pins, policy_for, suite};
use crate::setting::{expect, stderr, stdout};
use crate::watching::tells_outcomes;

pub(crate) fn with_agents() -> Suite {
    let tests: &[Test] = &[
        ("events_that_are_lost_are_made_up_for", overflow),
        ("cgroups_that_are_gone_at_once_leave_nothing", short_lived),
        ("a_cgroup_that_has_the_name_of_a_removed_one_keeps_its_link", same_name),
        ("cgroups_that_look_like_containers_do_not_fill_the_log", look_alikes),
        ("a_container_that_is_named_late_gets_its_policy_all_the_same", named_late),
        ("whoever_makes_cgroups_all_the_time_stops_nothing", flood),
        ("two_thousand_cgroups_have_their_policies", many),
        ("without_inotify_watches_cgroups_are_looked_for", no_watches),
        ("a_policy_that_is_taken_away_is_put_back", repaired),
        ("without_repair_it_is_only_said", not_repaired),
        ("what_somebody_does_to_links_is_said_and_undone", meddled_with),
        ("what_cannot_be_looked_at_hides_nothing_else", not_examined),
        ("whoever_has_the_attachments_locked_is_named_and_waited_for", locked),
        ("what_is_off_is_not_put_back", off),
        ("a_read_only_bpffs_is_said_and_waited_for", read_only),
        ("a_bpffs_that_is_mounted_anew_gets_everything", mounted_anew),
    ];
    suite(tests)
}

fn overflow() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    // Its cgroup is watched.
    machine.stop();
    // The kernel keeps fs.inotify.max_queued_events, 16384 by default.
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?.trim().parse()?;
    for _ in 0..most {
        fs::create_dir(machine.at("g1/x"))?;
        fs::remove_dir(machine.at("g1/x"))?;
    }
    machine.make("g2/x/y");
    fs::remove_dir(machine.at("g1"))?;
    machine.signal(Signal::CONT);
    machine.expect_said(
        "events-lost: the kernel had too many events, or no memory for them; looking at all cgroups again",
    );
    machine.expect_on("g2", &["web:agent"]);
    // It sees what comes after that.
    machine.make("g3");
    machine.expect_on("g3", &["web:agent"]);
    fs::remove_dir(machine.at("g3"))?;
    eventually("only one pin is there", || links() == 1);
    machine.expect_whole();
    Ok(())
}

/// How many links are pinned.
fn links() -> usize {
    pins().iter().filter(|(_, pin)| pin.starts_with("cgroup-")).count()
}

fn same_name() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    // When it reads of the first cgroup, the second one is there.
    machine.stop();
    machine.make("g2");
    fs::remove_dir(machine.at("g2"))?;
    machine.make("g2");
    machine.make("g3/x");
    fs::remove_dir(machine.at("g3/x"))?;
    fs::remove_dir(machine.at("g3"))?;
    machine.make("g3/x");
    machine.make("g4");
    machine.signal(Signal::CONT);
    let attached = |name: &str| {
        let log = machine.log();
        log.lines().filter(|line| line.contains(" attached: ") && line.contains(name)).count()
    };
    // What it has said by then is all about those before.
    eventually("it has read of the last one", || attached("/g4") == 1);
    for name in ["g2", "g3", "g4"] {
        machine.expect_on(name, &["web:agent"]);
        assert_eq!(attached(name), 1, "{name} lost its link in between: {}", machine.log());
    }
    machine.expect_whole();
    Ok(())
}

fn look_alikes() -> Result<(), Failed> {
    let text = "policy named\napply if container == \"web\"\ndefault write deny\n";
    let mut machine = AgentMachine::new(&[("named.knob", text)])?;
    machine.start()?;
    for number in 0..150 {
        machine.make(&format!("docker-{number:064x}.scope"));
    }
    machine.expect_said("there are more such cgroups");
    eventually("all are undecided", || {
        stdout(&expect(0, ["status", "--json"])).contains("\"undecided_cgroups\":150,")
    });
    let status = stdout(&expect(0, ["status"]));
    assert_eq!(status.matches(": named looks at container, which is not known\n").count(), 100, "{status}");
    assert!(status.contains("  and 50 cgroups more\n"), "{status}");
    assert_eq!(machine.log().matches(" undecided: ").count(), 101, "{}", machine.log());
    Ok(())
}

fn named_late() -> Result<(), Failed> {
    let text = "policy named\napply if container == \"web\"\ndefault write deny\n";
    let mut machine = AgentMachine::new(&[("named.knob", text)])?;
    machine.start()?;
    let (id, another) = ("0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4));
    for id in [&id, &another] {
        machine.make(&format!("docker-{id}.scope"));
    }
    machine.expect_said("undecided: ");
    let state = format!("/var/lib/docker/containers/{id}");
    fs::create_dir_all(&state)?;
    fs::write(format!("{state}/config.v2.json"), "{\"Name\":\"/web\"}")?;
    machine.expect_on(&format!("docker-{id}.scope"), &["named:agent"]);
    machine.expect_said("put the policy \"named\" on docker/web");
    machine.expect_on(&format!("docker-{another}.scope"), &[]);
    let status = String::from_utf8_lossy(&expect(0, ["status", "--json"]).stdout).into_owned();
    assert_eq!(status.matches("\"field\":\"container\"").count(), 1, "{status}");
    Ok(())
}

fn flood() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (machine, is_over) = (&machine, &is_over);
            scope.spawn(move || {
                let names: Vec<_> =
                    (0..3000).map(|i| machine.at(&format!("g1/flood-{thread}-{i}"))).collect();
                while !is_over.load(Ordering::Relaxed) {
                    names.iter().for_each(|name| drop(fs::create_dir(name)));
                    names.iter().for_each(|name| drop(fs::remove_dir(name)));
                }
            });
        }
        let over = OnDrop(&is_over);
        machine.write("more.knob", &policy_for("more", "more"));
        machine.expect_said("read 2 policies");
        drop(over);
    });
    Ok(())
}

/// Sets this at the end, also if a test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn short_lived() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    // Nothing may keep what is gone.
    let watches = || {
        let files = fs::read_dir(format!("/proc/{}/fdinfo", machine.pid())).into_iter().flatten().flatten();
        let infos = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        infos.map(|info| info.matches("inotify wd:").count()).sum::<usize>()
    };
    let before = watches();
    for round in 0..1000 {
        machine.make(&format!("g-{round}/below"));
        if round % 3 == 0 {
            std::thread::sleep(Duration::from_micros(round % 7 * 200));
        }
        fs::remove_dir(machine.at(&format!("g-{round}/below")))?;
        fs::remove_dir(machine.at(&format!("g-{round}")))?;
    }
    machine.make("g-last");
    machine.expect_on("g-last", &["web:agent"]);
    eventually("only two pins are there", || links() == 2);
    // One more cgroup, and what it may not have watched yet.
    eventually("what is gone is not watched", || watches() <= before + 3);
    machine.expect_whole();
    assert!(!machine.log().contains("failed"), "{}", machine.log());
    Ok(())
}

fn many() -> Result<(), Failed> {
    const CGROUPS: usize = 2000;
    let mut machine = AgentMachine::with_a_policy()?;
    for cgroup in 0..CGROUPS {
        fs::create_dir(machine.at(&format!("g-{cgroup}")))?;
    }
    let all = |expected: usize| links() == expected;
    let wait = |what: &str, expected: usize| {
        let deadline = std::time::Instant::now() + Duration::from_secs(300);
        while !all(expected) {
            assert!(std::time::Instant::now() < deadline, "{what}: {} links", links());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("new ones", CGROUPS + 1);
    machine.end(Signal::KILL)?;
    for cgroup in 0..CGROUPS / 2 {
        fs::remove_dir(machine.at(&format!("g-{cgroup}")))?;
    }
    machine.start()?;
    wait("what is left of the removed ones is gone", CGROUPS / 2 + 1);
    machine.write("web.knob", &format!("{}allow write vm.swappiness\n", policy_for("web", "g")));
    let moved = format!("{} moved to a new version", CGROUPS / 2 + 1);
    machine.expect_said(&moved);
    wait("moved", CGROUPS / 2 + 1);
    machine.expect_whole();
    Ok(())
}

/// Runs the agent where inotify gives no watches, as where there are too many.
pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    if role != "--without-inotify-watches" {
        return None;
    }
    deny_inotify_watches(libc::ENOSPC);
    let [program, arguments @ ..] = arguments else { return None };
    eprintln!("{}", Command::new(program).args(arguments).exec());
    Some(ExitCode::FAILURE)
}

fn no_watches() -> Result<(), Failed> {
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "g"))])?;
    let command = machine
        .command_through(&[std::env::current_exe()?.as_os_str(), "--without-inotify-watches".as_ref()]);
    machine.start_command(command)?;
    machine.expect_said("raise the sysctl fs.inotify.max_user_watches");
    machine.make("g1/below");
    machine.expect_on("g1", &["web:agent"]);
    machine.write("web.knob", &policy_for("web", "h"));
    machine.make("h1");
    machine.expect_on("h1", &["web:agent"]);
    machine.expect_on("g1", &[]);
    Ok(())
}

/// Takes the policy away from a cgroup.
fn take_away(machine: &AgentMachine, cgroup: &str) {
    for (attachment, _) in machine.on(cgroup) {
        let path = machine.at(cgroup).display().to_string();
        expect(0, ["detach", &attachment, "--source", "agent", "--cgroup", &path]);
    }
}

fn repaired() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    take_away(&machine, "g1");
    machine.expect_said("link-vanished: somebody has taken web@");
    machine.expect_said("repaired: put web@");
    machine.expect_on("g1", &["web:agent"]);
    // All of it, with the program.
    let attachment = machine.on("g1")[0].0.clone();
    fs::remove_dir_all(format!("/sys/fs/bpf/knobgate/{attachment}"))?;
    machine.expect_on("g1", &["web:agent"]);
    machine.expect_on("g2", &["web:agent"]);
    machine.expect_whole();
    Ok(())
}

fn not_repaired() -> Result<(), Failed> {
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "g"))])?;
    machine.configure("repair = false\n");
    machine.start()?;
    machine.make("g1");
    machine.expect_on("g1", &["web:agent"]);
    take_away(&machine, "g1");
    machine.expect_said("link-vanished: somebody has taken web@");
    std::thread::sleep(Duration::from_millis(2500));
    machine.expect_on("g1", &[]);
    assert_eq!(machine.log().matches("link-vanished").count(), 1, "{}", machine.log());
    // When the policies are read again, it is put there. So it is if its link was detached, and is pinned still.
    let runs = || machine.open("g1").effective().is_ok_and(|effective| !effective.is_empty());
    // The kernel takes a moment.
    eventually("it is not on the cgroup any more", || !runs());
    machine.signal(Signal::HUP);
    machine.expect_said(" reloaded: ");
    assert!(runs(), "it is on the cgroup again");
    let (attachment, pin) = pins().into_iter().find(|(_, pin)| pin.starts_with("cgroup-")).ok_or("a link")?;
    Link::from_pin(format!("/sys/fs/bpf/knobgate/{attachment}/{pin}"))?.detach()?;
    machine.expect_said("link-vanished: somebody has detached the link of ");
    assert!(!runs());
    machine.signal(Signal::HUP);
    machine.expect_count(" reloaded: ", 2);
    assert!(runs(), "it is on the cgroup again");
    Ok(())
}

fn off() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    machine.write("other.knob", &policy_for("other", "g"));
    machine.expect_on("g1", &["other:agent", "web:agent"]);
    expect(0, ["off", "web"]);
    machine.expect_said("off: \"web\" is off");
    machine.make("g2");
    machine.expect_on("g2", &["other:agent"]);
    std::thread::sleep(Duration::from_millis(2500));
    machine.expect_on("g1", &["other:agent"]);
    machine.signal(Signal::HUP);
    machine.expect_said("reloaded: read 2 policies");
    machine.expect_on("g1", &["other:agent"]);
    assert!(!machine.log().contains("vanished"), "{}", machine.log());
    expect(0, ["on", "web"]);
    for cgroup in ["g1", "g2"] {
        machine.expect_on(cgroup, &["other:agent", "web:agent"]);
    }
    machine.expect_said("on: \"web\" is on again");
    expect(0, ["off"]);
    machine.expect_on("g1", &[]);
    expect(0, ["on"]);
    machine.expect_on("g1", &["other:agent", "web:agent"]);
    // When it looks, nothing is off.
    stop_without_lock(&machine);
    expect(0, ["off", "web"]);
    expect(0, ["on", "web"]);
    machine.signal(Signal::CONT);
    machine.expect_on("g1", &["other:agent", "web:agent"]);
    assert!(!machine.log().contains("vanished"), "{}", machine.log());
    Ok(())
}

fn run(command: &str, arguments: &[&str]) {
    let status = Command::new(command).args(arguments).status().expect("it runs");
    assert!(status.success(), "{command} {arguments:?}: {status}");
}

fn read_only() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let inside = ["-m", "-t", &machine.pid().to_string()].map(str::to_owned);
    let remount = |options: &str| {
        let mut arguments: Vec<&str> = inside.iter().map(String::as_str).collect();
        arguments.extend(["mount", "-o", options, "/sys/fs/bpf"]);
        run("nsenter", &arguments);
    };
    remount("remount,ro");
    machine.make("g2");
    machine.expect_said("attach-failed: cannot put ");
    machine.write("more.knob", &policy_for("more", "m"));
    machine.expect_said("reload-rejected: the policies cannot be put in force now");
    std::thread::sleep(Duration::from_millis(2500));
    for kind in ["attach-failed", "reload-rejected"] {
        assert_eq!(machine.log().matches(kind).count(), 1, "{}", machine.log());
    }
    remount("remount,rw");
    machine.make("m1");
    machine.expect_on("m1", &["more:agent"]);
    machine.expect_on("g2", &["web:agent"]);
    machine.expect_on("g1", &["web:agent"]);
    Ok(())
}

/// Stops the agent where it does not keep others from changing attachments.
fn stop_without_lock(machine: &AgentMachine) {
    eventually("the agent is stopped without the lock", || {
        machine.stop();
        let is_free = can_lock();
        if !is_free {
            machine.signal(Signal::CONT);
        }
        is_free
    });
}

/// Whether nobody has the attachments locked.
fn can_lock() -> bool {
    let opened = fs::File::open("/sys/fs/bpf/knobgate").expect("the attachments");
    flock(&opened, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn not_examined() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    machine.write("more.knob", &policy_for("more", "m"));
    for (name, expected) in [("g2", "web:agent"), ("m1", "more:agent")] {
        machine.make(name);
        machine.expect_on(name, &[expected]);
    }
    let directory = |cgroup: &str| {
        let (attachment, origin) = machine.on(cgroup)[0].clone();
        let id = machine.open(cgroup).id();
        (format!("/sys/fs/bpf/knobgate/{attachment}"), format!("cgroup-{id}{origin}"))
    };
    let (web, pin) = directory("g1");
    chown(format!("{web}/{pin}"), Some(65534), None)?;
    machine.expect_said("repair-failed: cannot look at web@");
    let (more, _) = directory("m1");
    fs::set_permissions(&more, fs::Permissions::from_mode(0o777))?;
    machine.expect_said("repair-failed: cannot look at more@");
    // The others are looked at, and repaired.
    let (_, pin) = directory("g2");
    Link::from_pin(format!("{web}/{pin}"))?.detach()?;
    machine.expect_said("link-vanished: somebody has detached the link of web@");
    machine.expect_said("repaired: put web@");
    machine.make("g3");
    machine.expect_on("g3", &["web:agent"]);
    assert_eq!(machine.log().matches("cannot look at ").count(), 2, "{}", machine.log());
    assert!(!machine.log().contains("link-vanished: somebody has taken"), "{}", machine.log());
    Ok(())
}

fn locked() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let directory = "/sys/fs/bpf/knobgate";
    let holder = Reaped(Command::new("flock").args(["--no-fork", directory, "sleep", "1000"]).spawn()?);
    eventually("it is locked", || !can_lock());
    let id = ProcessId::of_child(&holder.0);
    id.send(Signal::STOP)?;
    machine.make("g2");
    let why =
        format!("process {id} (sleep), which is stopped: let it go on with `kill -CONT {id}`, or end it");
    machine.expect_said("attach-failed: cannot put policies on ");
    assert!(machine.log().contains(&why), "{}", machine.log());
    expect(0, ["status"]);
    // What is put off is off for new cgroups, also if it cannot be taken away from others.
    let off = stderr(&expect(3, ["off"]));
    assert!(off.contains(&why), "{off}");
    expect(0, ["on"]);
    drop(holder);
    machine.expect_on("g2", &["web:agent"]);
    machine.expect_whole();
    Ok(())
}

fn mounted_anew() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    // Elsewhere, a line does not say of which process it is.
    let logs_processes = tells_outcomes(&profile()).is_none();
    if logs_processes {
        expect_logged(&machine, "g1");
    }
    let pid = machine.pid().to_string();
    // Also one below the test's own: with any, the agent would repair everything.
    let unmount = "while umount -l /sys/fs/bpf 2>/dev/null; do :; done";
    run("nsenter", &["-m", "-t", &pid, "sh", "-c", unmount]);
    machine.make("g2");
    machine.expect_said("failed: ");
    run("nsenter", &["-m", "-t", &pid, "mount", "-t", "bpf", "bpf", "/sys/fs/bpf"]);
    machine.expect_said("put web@");
    let inside = format!("/proc/{pid}/root/sys/fs/bpf/knobgate");
    let links = || {
        let directories = fs::read_dir(&inside).into_iter().flatten().flatten();
        let pins = directories.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten());
        pins.filter(|pin| pin.file_name().to_string_lossy().starts_with("cgroup-")).count()
    };
    eventually("both cgroups have it", || links() == 2);
    // The programs there now send their events to other places.
    if logs_processes {
        machine.expect_said("unread: decisions of the last 5 s may be missing here");
        expect_logged(&machine, "g2");
    }
    assert!(machine.is_running());
    Ok(())
}

/// Waits until it is logged that a process in this cgroup may not write.
fn expect_logged(machine: &AgentMachine, cgroup: &str) {
    let process = format!("/{cgroup} sh[");
    eventually("what is denied is logged", || {
        let written = shell(&machine.open(cgroup), "echo x >/proc/sys/kernel/domainname").output();
        assert!(written.is_ok_and(|written| !written.status.success()));
        machine.log().lines().any(|line| line.contains(" denied: ") && line.contains(&process))
    });
}

fn meddled_with() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let attachment = machine.on("g1")[0].0.clone();
    let link = || {
        let pins = pins().into_iter().find(|(_, pin)| pin.starts_with("cgroup-"));
        let (attachment, pin) = pins.expect("a link");
        Link::from_pin(format!("/sys/fs/bpf/knobgate/{attachment}/{pin}")).expect("a link")
    };
    link().detach()?;
    machine.expect_said(&format!("link-vanished: somebody has detached the link of {attachment}"));
    machine.expect_said("repaired: put web@");
    let runs =
        |program: u32| machine.open("g1").effective().is_ok_and(|effective| effective.contains(&program));
    let ours = link().program()?;
    eventually("it is on the cgroup again", || link().info().is_ok_and(|info| info.cgroup_id.is_some()));

    let program = foreign().program;
    link().update(&ours, &program)?;
    machine.expect_said(&format!("link-replaced: somebody has replaced the program of {attachment}"));
    machine.expect_said("put the program of web@");
    eventually("its own program runs", || runs(ours.info().expect("a program").id));
    // A second time, before it is looked at again.
    link().update(&ours, &program)?;
    eventually("its own program runs again", || runs(ours.info().expect("a program").id));
    assert_eq!(machine.log().matches("link-replaced: ").count(), 2, "{}", machine.log());

    let above = machine.open("");
    let _link = Link::create(&program, &above)?;
    machine.expect_said("foreign-program: program ");
    assert!(machine.log().contains("(foreign), loaded by uid 0"), "{}", machine.log());
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(machine.log().matches("foreign-program: ").count(), 1, "{}", machine.log());
    machine.expect_whole();
    Ok(())
}

/// A program that allows everything.
fn foreign() -> LoadedProgram {
    let program = Program {
        name: "foreign".to_owned(),
        insns: vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()],
        ..Program::default()
    };
    load(&program, &LoadOptions::default()).expect("it loads")
}
