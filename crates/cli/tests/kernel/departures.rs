//! Processes that leave the cgroup of `knobgate run`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use knobgate_kernel::{Cgroup, Namespaces, ScratchCgroup, spawn_inside, with_private_namespaces};
use knobgate_testing::{Reaped, Test, eventually, is_running, scratch};
use libtest_mimic::Failed;
use rustix::process::WaitOptions;

use crate::setting::{KNOBGATE, Runs, decided_by_the_kernel, knobgate, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("departures_are_reported_at_once_and_at_the_end", reported),
    ("children_started_in_another_cgroup_are_reported", started_elsewhere),
    ("strict_kills_a_process_that_leaves_and_its_descendants", strict),
    ("strict_kills_daemons_at_the_end", daemons),
    ("a_process_whose_first_thread_has_ended_is_tracked", first_thread),
    ("processes_that_stay_are_neither_reported_nor_killed", stays),
    ("processes_are_reported_with_the_ids_of_the_pid_namespace", pid_namespace),
    ("many_departures_are_counted", many),
    ("the_name_of_a_process_that_leaves_is_escaped", hostile),
];

/// Tests that do not need tracking.
pub(crate) const ANYWHERE: &[Test] =
    &[("without_tracking_a_note_says_so_and_strict_starts_nothing", not_noticed)];

/// The argument that makes this program start a command in the other cgroup, with clone3(2), and print how it ended.
pub(crate) const STARTER: &str = "--start-elsewhere";

pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let [cgroup, command @ ..] = arguments else { return None };
    if role == THREADED {
        leave_without_first_thread(Path::new(cgroup), command == ["first"]);
    }
    if role != STARTER {
        return None;
    }
    let cgroup = Cgroup::open(cgroup).expect("the cgroup");
    let child = spawn_inside(Command::new("sh").arg("-c").args(command), &cgroup).expect("a command");
    let ended = child.wait(WaitOptions::empty()).expect("its end").expect("an ending");
    println!("{:?} {:?}", ended.exit_status(), ended.terminating_signal());
    Some(ExitCode::SUCCESS)
}

/// The argument that makes this program end its first thread. It moves to a cgroup before (`first`) or after that.
pub(crate) const THREADED: &str = "--leave-without-first-thread";

fn leave_without_first_thread(cgroup: &Path, first: bool) -> ! {
    let procs = cgroup.join("cgroup.procs");
    if first {
        fs::write(&procs, "0").expect("moved");
    }
    std::thread::spawn(move || {
        let ended = || fs::read_to_string("/proc/self/stat").is_ok_and(|stat| stat.contains(") Z "));
        eventually("the first thread has ended", ended);
        if !first {
            fs::write(&procs, std::process::id().to_string()).expect("moved");
        }
        println!("{}", std::process::id());
        loop {
            std::thread::park();
        }
    });
    knobgate_kernel::test_util::exit_thread()
}

/// A place to run commands in, and a cgroup next to it.
struct Place {
    runs: Runs,
    other: ScratchCgroup,
}

impl Place {
    fn new(name: &str) -> Self {
        Self { runs: Runs::new(name, "default write deny\n"), other: scratch() }
    }

    /// A command with the other cgroup in `$OTHER`, and the one above its own in `$HELD`.
    fn command<S: AsRef<OsStr>>(&self, strict: bool, command: impl IntoIterator<Item = S>) -> Command {
        let mut run = knobgate(["run"]);
        run.args(strict.then_some("--strict")).args(self.runs.arguments()).arg("--").args(command);
        run.env("OTHER", self.other.path()).env("HELD", self.runs.parent.path());
        run
    }

    fn script(&self, strict: bool, script: &str) -> Output {
        self.command(strict, ["sh", "-c", script]).output().expect("knobgate")
    }

    /// The end of a message.
    fn name(&self) -> String {
        self.other.path().display().to_string()
    }
}

/// Standard error without the notes on which hook decides and on events that the kernel skipped.
fn printed(output: &Output) -> String {
    let note = decided_by_the_kernel();
    stderr(output)
        .lines()
        .filter(|line| !line.contains(note.trim()) && !line.contains("note: the kernel skipped up to"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn reported() -> Result<(), Failed> {
    let place = Place::new("t-reported");
    let mut command =
        place.command(false, ["sh", "-c", "echo 0 >$OTHER/cgroup.procs; read line; sleep 1000 & exit 3"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut run = Reaped(command.spawn()?);
    let mut lines = BufReader::new(run.0.stderr.take().ok_or("no output")?).lines();
    // While it runs.
    let at_once =
        lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("has left"))).ok_or("nothing")??;
    let inside = fs::read_to_string(place.other.path().join("cgroup.procs"))?;
    let expected =
        format!("warning: process {} (sh) has left the policy for {}", inside.trim(), place.name());
    assert_eq!(at_once, expected);
    run.0.stdin.take().ok_or("no input")?.write_all(b"\n")?;
    assert_eq!(run.0.wait()?.code(), Some(3));

    // Its child still runs, and is named.
    let remaining = fs::read_to_string(place.other.path().join("cgroup.procs"))?;
    let at_the_end = lines.next().ok_or("nothing at the end")??;
    let expected = format!(
        "warning: 1 departure from the policy, to {}; these run on without it: {}. ",
        place.name(),
        remaining.trim()
    );
    assert!(at_the_end.starts_with(&expected), "{at_the_end}");
    assert!(at_the_end.contains("knobgate attach") && at_the_end.contains("--strict"), "{at_the_end}");
    assert!(is_running(remaining.trim().parse()?));
    Ok(())
}

fn started_elsewhere() -> Result<(), Failed> {
    let place = Place::new("t-elsewhere");
    for (strict, script, ending, then) in [
        (false, "exit 3", "Some(3) None\n", ""),
        (true, "exec sleep 1000", "None Some(9)\n", ", and was killed"),
    ] {
        let test = std::env::current_exe()?;
        let command = [test.as_os_str(), STARTER.as_ref(), place.other.path().as_ref(), script.as_ref()];
        let output = place.command(strict, command).output()?;
        assert_eq!(stdout(&output), ending, "{output:?}");
        let expected = format!(") has left the policy for {}{then}\n", place.name());
        assert!(printed(&output).contains(&expected), "{expected:?}: {output:?}");
        let end = if strict { "; processes killed: 1\n" } else { "; none of them still runs there\n" };
        assert!(printed(&output).ends_with(end), "{output:?}");
    }
    Ok(())
}

fn strict() -> Result<(), Failed> {
    let place = Place::new("t-strict");
    let script = "(echo 0 >$OTHER/cgroup.procs; sleep 1000) ; echo status $?; exit 5";
    let output = place.script(true, script);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("status 137\n", Some(5)), "{output:?}");
    let (first, last) = (" has left the policy for ", "; processes killed: ");
    let printed = printed(&output);
    assert!(
        printed.contains(first) && printed.contains(", and was killed\n") && printed.contains(last),
        "{printed}"
    );
    eventually("it is empty", || place.other.is_populated().is_ok_and(|populated| !populated));
    Ok(())
}

fn daemons() -> Result<(), Failed> {
    let place = Place::new("t-daemons");
    // Each process starts the next, and the command waits for none of them.
    let chain = "n=$1; if [ $n -lt 20 ]; then setsid sh -c \"$CHAIN\" sh $((n + 1)) & fi; sleep 1000";
    let mut run = place
        .command(true, ["sh", "-c", "(echo 0 >$OTHER/cgroup.procs; setsid sh -c \"$CHAIN\" sh 0)\ntrue"]);
    let output = run.env("CHAIN", chain).output()?;
    assert!(output.status.success(), "{output:?}");
    assert!(printed(&output).contains("; processes killed: "), "{output:?}");
    eventually("it is empty", || place.other.is_populated().is_ok_and(|populated| !populated));
    Ok(())
}

fn first_thread() -> Result<(), Failed> {
    let place = Place::new("t-thread");
    let test = std::env::current_exe()?;
    for when in ["first", "then"] {
        let run = |strict: bool, script: &str| {
            let mut command = place.command(strict, ["sh", "-c", script]);
            command.env("TEST", &test).env("ROLE", THREADED).env("WHEN", when).output()
        };
        let output =
            run(false, "{ \"$TEST\" $ROLE $OTHER $WHEN 2>/dev/null & } | { read line; echo \"$line\"; }")?;
        let (id, printed) = (stdout(&output), printed(&output));
        let id = id.trim();
        assert!(place.other.is_populated()?, "{output:?}");
        assert!(
            printed.contains(&format!("process {id} (")) && printed.contains(") has left the policy for "),
            "{id}: {printed}"
        );
        assert!(printed.contains(&format!("; these run on without it: {id}. ")), "{id}: {printed}");
        place.other.kill()?;
        eventually("it is empty", || place.other.is_populated().is_ok_and(|populated| !populated));

        let output = run(true, "\"$TEST\" $ROLE $OTHER $WHEN >/dev/null; echo $?")?;
        assert_eq!(stdout(&output), "137\n", "{output:?}");
        assert!(self::printed(&output).ends_with("; processes killed: 1\n"), "{output:?}");
    }
    // A process that stays is killed with the others.
    let mut run = place.command(
        false,
        ["sh", "-c", "{ \"$TEST\" $ROLE $HELD/knobgate-run-* first 2>/dev/null & } | read line"],
    );
    let output = run.env("TEST", &test).env("ROLE", THREADED).output()?;
    assert_eq!((output.status.code(), self::printed(&output).as_str()), (Some(0), ""), "{output:?}");
    Ok(())
}

fn stays() -> Result<(), Failed> {
    let place = Place::new("t-stays");
    for strict in [false, true] {
        // To a cgroup of its own below, too.
        let script = "for at in $HELD/knobgate-run-*; do mkdir $at/in && echo 0 >$at/in/cgroup.procs; done
            for i in 1 2 3; do (true; true) & done; wait; sh -c 'setsid true'; echo done";
        let output = place.script(strict, script);
        assert_eq!((stdout(&output).as_str(), printed(&output).as_str()), ("done\n", ""));
    }
    Ok(())
}

fn pid_namespace() -> Result<(), Failed> {
    let place = Place::new("t-pidns");
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", KNOBGATE, "run", "--strict"])
        .args(place.runs.arguments());
    command.args(["--", "sh", "-c", "echo $$; echo 0 >$OTHER/cgroup.procs; sleep 1000"]);
    command.env("OTHER", place.other.path());
    with_private_namespaces(&mut command, Namespaces { mount: true, ..Namespaces::default() });
    let output = command.output()?;
    // One of the first few processes there.
    let id: u32 = stdout(&output).trim().parse()?;
    assert!(id < 20, "{output:?}");
    assert!(printed(&output).contains(&format!("process {id} (sh) has left the policy")), "{output:?}");
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    Ok(())
}

fn many() -> Result<(), Failed> {
    let place = Place::new("t-many");
    let output =
        place.script(false, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do (echo 0 >$OTHER/cgroup.procs); done");
    let printed = printed(&output);
    assert_eq!(printed.matches("has left the policy").count(), 10, "{printed}");
    assert!(printed.contains("warning: more processes have left the policy"), "{printed}");
    assert!(printed.contains("warning: 12 departures from the policy, to "), "{printed}");
    Ok(())
}

fn hostile() -> Result<(), Failed> {
    let place = Place::new("t-hostile");
    let output =
        place.script(false, "printf '\\033[2J\\nerror: x' >/proc/$$/comm; echo 0 >$OTHER/cgroup.procs");
    let printed = printed(&output);
    assert!(printed.contains("(\\x1b[2J\\nerror: x) has left the policy"), "{printed}");
    assert!(
        !printed.contains('\u{1b}') && !printed.lines().any(|line| line.starts_with("error: x")),
        "{printed:?}"
    );
    Ok(())
}

fn not_noticed() -> Result<(), Failed> {
    let place = Place::new("t-blind");
    // Without BTF and without the cache of probes; and with a `/proc` of another pid namespace.
    let no_btf = "mount -t tmpfs none /run && if [ -e /sys/kernel/btf/vmlinux ]; then
        mount --bind /dev/null /sys/kernel/btf/vmlinux; fi; exec \"$@\"";
    let scripts = [no_btf, "exec unshare --pid --fork \"$@\""];
    for (script, strict) in scripts.into_iter().flat_map(|script| [(script, false), (script, true)]) {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", KNOBGATE, "run"]).args(strict.then_some("--strict"));
        command.args(place.runs.arguments()).args(["--", "echo", "started"]);
        with_private_namespaces(&mut command, Namespaces { mount: true, ..Namespaces::default() });
        let output = command.output()?;
        let (status, out) = if strict { (3, "") } else { (0, "started\n") };
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(status), out), "{output:?}");
        let expected = if strict {
            "error: cannot kill processes that leave the policy (--strict): "
        } else {
            "note: processes that leave the policy cannot be reported: "
        };
        assert!(printed(&output).contains(expected), "{output:?}");
    }
    Ok(())
}
