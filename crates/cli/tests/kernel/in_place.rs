//! `run` starts a command as if it had been started directly.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use knobgate_testing::{Test, profile};
use libtest_mimic::Failed;

use crate::lacking::locked_memory;
use crate::setting::{KNOBGATE, Runs, stdout};

pub(crate) const TESTS: &[Test] = &[("a_command_inherits_the_same_as_without_knobgate", inherits)];

/// Prints everything that a process inherits. (Without an I/O class, 5.10 changes the priority after the first I/O.)
const INSPECT: &str = "
    grep -E '^(Umask|Uid|Gid|Groups|Sig[^Q]|Shd|Cap|NoNewPrivs|Seccomp|Spec|THP|untag|Cpus_|Mems_)' /proc/self/status
    cd /proc/self; cat limits oom_score_adj coredump_filter timerslack_ns personality loginuid sessionid setgroups
    readlink ns/net ns/uts ns/ipc ns/mnt ns/user ns/pid ns/time root; cat uid_map
    cat environ | tr '\\0' '\\n'; ls fd; nice; chrt -p $$ | tr -d 0-9; ionice | sed 's/^none.*/none/'
    kill -PIPE $$; sleep 0; echo survived SIGPIPE";

/// Ways to start knobgate, or the command itself.
const STARTED: &[&str] = &[
    "exec \"$@\"",
    "trap '' PIPE; exec \"$@\"",
    "exec env --ignore-signal=CHLD \"$@\"",
    "exec env --ignore-signal=CHLD --ignore-signal=PIPE --block-signal=CHLD \"$@\"",
    "trap '' PIPE CHLD HUP USR1 TSTP ALRM; exec \"$@\"",
    "exec env --block-signal=USR1 --block-signal=PIPE --block-signal=CHLD --block-signal=RTMIN \"$@\"",
    "exec <&-; exec \"$@\"",
    "exec 2>&-; exec \"$@\"",
    "exec <&- 2>&-; exec \"$@\"",
    "exec 5</dev/null 9>/dev/null; exec \"$@\"",
    "umask 027; cd /tmp; ulimit -n 200; ulimit -c 0; ulimit -S -l 64; exec nice -n 5 \"$@\"",
    "echo 300 >/proc/self/oom_score_adj; echo 7 >/proc/self/coredump_filter; exec \"$@\"",
    "exec setpriv --no-new-privs --bounding-set -sys_time \"$@\"",
    "exec taskset 1 chrt -b 0 ionice -c 3 \"$@\"",
    "exec env -i A=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin \"$@\"",
];

/// The output of the command, started in this way directly and by knobgate.
fn both(runs: &Runs, started: &str, command: &[&str]) -> Result<[String; 2], Failed> {
    let run = |command: &[OsString]| {
        let mut outer = Command::new("sh");
        outer.args(["-c", started, "sh"]).args(command).stdin(Stdio::null()).output()
    };
    let by_itself: Vec<_> = command.iter().map(OsString::from).collect();
    let by_knobgate = runs.command(command);
    let by_knobgate: Vec<_> =
        [OsStr::new(KNOBGATE)].into_iter().chain(by_knobgate.get_args()).map(OsStr::to_owned).collect();
    Ok([stdout(&run(&by_itself)?), stdout(&run(&by_knobgate)?)])
}

fn inherits() -> Result<(), Failed> {
    let runs = Runs::new("t-in-place", "");
    // A shell changes some signals itself, and a child does not inherit the parent-death signal.
    // Without the number of pending signals of this user (SigQ), which other processes change.
    // If programs count as locked memory, knobgate may have to raise the limit.
    let may_raise = locked_memory(&profile()).is_none();
    let signals = ["grep", "-E", "^(Sig[^Q]|Shd)", "/proc/self/status"];
    for started in STARTED {
        for command in [&["sh", "-c", INSPECT][..], &signals, &["setpriv", "--dump"]] {
            let [by_itself, by_knobgate] = both(&runs, started, command)?;
            assert!(by_itself.lines().count() >= 5, "{started}: {by_itself}");
            for (by_itself, by_knobgate) in by_itself.lines().zip(by_knobgate.lines()) {
                let is_raised = may_raise && by_itself.starts_with("Max locked memory");
                assert!(by_itself == by_knobgate || is_raised, "{started}: {by_itself}, and {by_knobgate}");
            }
            assert_eq!(by_itself.lines().count(), by_knobgate.lines().count(), "{started}");
        }
    }
    Ok(())
}
