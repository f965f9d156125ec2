//! `run` when the system cannot create a process for the command, or has no clone3(2).
//!
//! The tests run in their own pid namespace: if the -1 of a failed call were taken for a process, a forwarded signal
//! would reach every process in it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use knobgate_hook::Profile;
use knobgate_kernel::Cgroup;
use knobgate_testing::{Suite, Test, deny_clone3, eventually, scratch};
use libtest_mimic::Failed;

use crate::setting::{KNOBGATE, Runs, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("without_clone3_the_command_runs_and_gets_signals", filtered),
    ("a_failed_fork_is_reported_and_no_process_is_signalled", exhausted),
];

/// Tests that need the pids controller.
const LIMITED: &[Test] = &[
    ("a_reached_pids_limit_is_reported_and_no_process_is_signalled", limited),
    ("a_command_whose_guard_cannot_be_replaced_is_killed", unguarded),
];

/// What they require.
pub(crate) fn with_limit(suite: Suite) -> Suite {
    let lacks = |_: &Profile| {
        let limited = Limited::of(&scratch()).is_ok_and(|limited| limited.is_some());
        (!limited).then(|| "no pids controller is in use here".to_owned())
    };
    LIMITED.iter().fold(suite, |suite, &(name, test)| suite.test(name, lacks, test))
}

/// The argument that makes this program start another one without clone3(2).
const WITHOUT_CLONE3: &str = "--without-clone3";

pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let [errno, program, arguments @ ..] = arguments else { return None };
    if role != WITHOUT_CLONE3 {
        return None;
    }
    deny_clone3(errno.to_str()?.parse().ok()?);
    eprintln!("{}", Command::new(program).args(arguments).exec());
    Some(ExitCode::FAILURE)
}

/// Runs `knobgate run`, started by `prefix`, next to processes that must survive. It must end by itself; if it does
/// not, it gets `SIGTERM` after a while. `script` is the command.
fn play_run(runs: &Runs, before: &str, prefix: &[&str], script: &str) -> Output {
    let mut outer = Command::new("unshare");
    outer.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c"]);
    outer.arg(format!(
        "sleep 1000 & one=$!; setsid sleep 1000 & two=$!
         {before}
         timeout --foreground --signal=TERM --kill-after=30 60 \"$@\" &
         wait $!; status=$?
         kill -0 $one && kill -0 $two && echo bystanders live; kill $one $two; exit $status"
    ));
    outer.arg("sh").args(prefix).arg(KNOBGATE).args(runs.command(["sh", "-c", script]).get_args());
    outer.output().expect("unshare")
}

fn filtered() -> Result<(), Failed> {
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        let runs = Runs::new("t-filter", "default write deny\n");
        let this = std::env::current_exe()?;
        let this = this.to_str().ok_or("a path")?;
        // The signal goes to knobgate, which forwards it.
        let script = "echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward || echo denied
                      trap 'echo heard; exit 5' TERM; kill -TERM $PPID; while :; do sleep 0.05; done";
        let output = play_run(&runs, "", &[this, WITHOUT_CLONE3, &errno.to_string()], script);
        assert_eq!(stdout(&output), "denied\nheard\nbystanders live\n", "{output:?}");
        assert_eq!(output.status.code(), Some(5), "{output:?}");
    }
    Ok(())
}

fn exhausted() -> Result<(), Failed> {
    let runs = Runs::new("t-nopids", "");
    // In a new pid namespace whose init, the first child, has ended. The guard is the first process that cannot be created.
    let prefix = ["unshare", "--pid", "--", "sh", "-c", "/bin/true; exec \"$@\"", "sh"];
    let output = play_run(&runs, "", &prefix, "echo the command ran");
    assert_eq!(stdout(&output), "bystanders live\n", "{output:?}");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    // ENOMEM, whose text differs between C libraries.
    assert!(stderr(&output).contains("(os error 12)"), "{output:?}");
    Ok(())
}

fn limited() -> Result<(), Failed> {
    let runs = Runs::new("t-pidsmax", "");
    let limited = Limited::of(&runs.parent)?.ok_or("the pids controller is gone")?;
    let directory = limited.directory();
    // Room only for knobgate and its guard.
    let prefix = ["sh", "-c", &format!("echo 0 >{directory}/cgroup.procs; exec \"$@\""), "sh"];
    let before = format!("echo 2 >{directory}/pids.max");
    let output = play_run(&runs, &before, &prefix, "echo the command ran");
    assert_eq!(stdout(&output), "bystanders live\n", "{output:?}");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("Resource temporarily unavailable"), "{output:?}");
    Ok(())
}

fn unguarded() -> Result<(), Failed> {
    let runs = Runs::new("t-unguarded", "");
    let limited = Limited::of(&runs.parent)?.ok_or("the pids controller is gone")?;
    let directory = limited.directory();
    let prefix = ["sh", "-c", &format!("echo 0 >{directory}/cgroup.procs; exec \"$@\""), "sh"];
    // Knobgate's children are this one and the guard.
    let script = format!(
        "setsid sleep 1000 >/dev/null 2>&1 & echo $!; sleep 0
         read -r children </proc/$PPID/task/$PPID/children
         for guard in $children; do [ $guard = $$ ] || break; done
         echo 2 >{directory}/pids.max; kill -KILL $guard; while :; do :; done"
    );
    let output = play_run(&runs, "", &prefix, &script);
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    assert!(
        stderr(&output)
            .contains("the command was killed, because its guard was killed and cannot be replaced"),
        "{output:?}"
    );
    assert!(stdout(&output).ends_with("bystanders live\n"), "{output:?}");
    Ok(())
}

/// A cgroup with a limit on processes, for knobgate and everything that it starts.
enum Limited {
    /// The cgroup in v1, created for the test.
    Own(PathBuf),
    /// The cgroup of the runs in v2.
    OfRuns(PathBuf),
}

impl Limited {
    /// `None` if the pids controller is not in use.
    fn of(parent: &Cgroup) -> std::io::Result<Option<Self>> {
        let in_hierarchy = parent.path().to_owned();
        if in_hierarchy.join("pids.max").exists() {
            return Ok(Some(Self::OfRuns(in_hierarchy)));
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup" && options.split(',').any(|option| option == "pids")).then_some(point)
        });
        let Some(mount) = mount else { return Ok(None) };
        // With a name like the other one: `knobgate-test-…`.
        let own = Path::new(mount).join(in_hierarchy.file_name().unwrap_or_default());
        std::fs::create_dir(&own)?;
        Ok(Some(Self::Own(own)))
    }

    fn directory(&self) -> std::path::Display<'_> {
        let (Self::Own(path) | Self::OfRuns(path)) = self;
        path.display()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Self::Own(path) = self {
            eventually("the processes there have ended", || std::fs::remove_dir(&*path).is_ok());
        }
    }
}
