//! Outliving `knobgate run` by killing it together with its guard.

use std::io::{Read, Write};
use std::process::Stdio;

use knobgate_testing::{Reaped, Test, eventually};
use libtest_mimic::Failed;

use crate::setting::{Runs, children};

pub(super) const TESTS: &[Test] = &[
    ("a_command_that_kills_knobgate_and_its_guard_outlives_them_under_the_policy", outliving),
    ("a_command_that_cannot_see_or_signal_knobgate_kills_neither", surviving),
];

/// Knobgate's children are the command, which is this shell, and the guard.
const FIND: &str = "read -r children </proc/$PPID/task/$PPID/children
    for guard in $children; do [ $guard = $$ ] || break; done";
/// Stops knobgate first: otherwise it would start another guard.
const KILL: &str = "kill -STOP $knobgate && kill -KILL $guard && kill -KILL $knobgate";
const WRITE: &str = "echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward && echo wrote || echo denied
    cat /proc/sys/net/ipv4/ip_forward";

fn outliving() -> Result<(), Failed> {
    let runs = Runs::new("t-outliving", "default write deny\n");
    let script = format!("{FIND}; knobgate=$PPID; {KILL}; read -r go; {WRITE}");
    let mut command = runs.command(["sh", "-c", &script]);
    let mut knobgate = Reaped(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let (input, output) = (knobgate.0.stdin.take(), knobgate.0.stdout.take());
    assert_eq!(knobgate.0.wait()?.code(), None, "a signal ends it");
    input.ok_or("no input")?.write_all(b"go\n")?;
    let mut printed = String::new();
    output.ok_or("no output")?.read_to_string(&mut printed)?;
    assert_eq!(printed, "denied\n0\n");
    // A later run cleans up once the command has ended. The command closes its output before that.
    eventually("a later run clears up", || {
        assert_eq!(runs.script("exit 4").status.code(), Some(4));
        children(&runs.parent).is_empty()
    });
    runs.expect_nothing_left();
    Ok(())
}

fn surviving() -> Result<(), Failed> {
    let runs = Runs::new("t-surviving", "default write deny\n");
    for setup in [
        "unshare --pid --fork --mount-proc",
        "setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all",
    ] {
        let script = format!(
            "{FIND}; export knobgate=$PPID guard
             {setup} sh -c '({KILL}) 2>/dev/null || echo cannot'; {WRITE}; exit 4"
        );
        let output = runs.script(&script);
        assert_eq!(output.status.code(), Some(4), "{setup}: {output:?}");
        assert_eq!(crate::setting::stdout(&output), "cannot\ndenied\n0\n", "{setup}");
        runs.expect_nothing_left();
    }
    Ok(())
}
