use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use knobgate_kernel::ScratchCgroup;
use knobgate_testing::{Reaped, RemoveOnDrop, Test, eventually, is_running, shell};
use libtest_mimic::Failed;

use crate::setting::{Runs, children, decided_by_the_kernel, denied_with, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a_denied_write_fails_and_changes_nothing", denial),
    ("a_denial_has_the_errno_of_the_policy", errno),
    ("a_value_outside_of_its_bounds_changes_nothing", bound),
    ("a_read_can_be_denied", read),
    ("the_policy_applies_from_the_first_instruction_and_to_descendants", first),
    ("the_exit_status_is_that_of_the_command", statuses),
    ("a_command_that_cannot_be_started_has_the_status_of_a_shell", no_command),
    ("processes_that_the_command_left_running_are_killed", daemons),
    ("cgroups_of_the_command_are_removed", inner_cgroups),
    ("the_exit_status_is_kept_if_the_cgroup_cannot_be_removed", not_removed),
    ("standard_streams_pass_through", streams),
    ("deeply_nested_cgroups_of_the_command_are_removed", deep_cgroups),
    ("only_the_remains_of_dead_runs_are_removed", leftovers),
    ("a_policy_with_errors_runs_nothing", bad_policy),
    ("a_path_that_is_not_a_cgroup_is_a_wrong_argument", wrong_cgroup),
    ("a_list_that_continues_after_a_nul_is_denied", after_nul),
];

pub(crate) const REWRITING: &[Test] =
    &[("a_value_is_clamped", clamp), ("an_ignored_write_succeeds_and_changes_nothing", ignored)];

pub(crate) const REWRITING_LISTS: &[Test] = &[("a_list_is_clamped", clamped_list)];

pub(crate) const DROPPED_REWRITES: &[Test] =
    &[("a_rewrite_that_the_kernel_would_drop_is_denied_and_reported", denied_instead)];

fn denial() -> Result<(), Failed> {
    let runs = Runs::new("t-denial", "default write allow\ndeny write net.ipv4.ip_forward\n");
    let output = runs.script(
        "echo 1 | tee /proc/sys/net/ipv4/ip_forward; echo status $?; cat /proc/sys/net/ipv4/ip_forward",
    );
    assert_eq!(stdout(&output), "1\nstatus 1\n0\n");
    assert!(stderr(&output).contains("Operation not permitted"), "{output:?}");
    Ok(())
}

fn errno() -> Result<(), Failed> {
    let runs = Runs::new("t-errno", "deny(EROFS) write net.**\n");
    let output = runs.script("echo 1 | tee /proc/sys/net/ipv4/ip_forward");
    assert!(stderr(&output).contains(denied_with("Read-only file system")), "{output:?}");
    Ok(())
}

fn bound() -> Result<(), Failed> {
    let runs = Runs::new("t-bound", "allow write net.ipv4.ip_default_ttl if 32 <= new <= 128\n");
    let output = runs.script(
        "cd /proc/sys/net/ipv4; for ttl in 100 255 0x20 031 31 -1 '100 200' x ''; do
            echo \"$ttl\" 2>/dev/null >ip_default_ttl && printf 'yes ' || printf 'no '; cat ip_default_ttl
         done 2>/dev/null",
    );
    let expected =
        ["yes 100", "no 100", "yes 32", "no 32", "no 32", "no 32", "no 32", "no 32", "no 32"].join("\n");
    assert_eq!(stdout(&output).trim(), expected);
    Ok(())
}

fn clamp() -> Result<(), Failed> {
    let runs = Runs::new("t-clamp", "clamp write net.core.somaxconn to 128..65535\n");
    let output = runs.script(
        "cd /proc/sys/net/core; for value in 9999999 0001 300; do echo $value >somaxconn && cat somaxconn; done",
    );
    assert_eq!(stdout(&output), "65535\n128\n300\n");
    // A write that is too short for the replacement.
    let output = runs.script("echo 1 | tee /proc/sys/net/core/somaxconn; cat /proc/sys/net/core/somaxconn");
    assert_eq!(stdout(&output), "1\n4096\n");
    assert!(stderr(&output).contains(denied_with("Invalid argument")), "{output:?}");
    Ok(())
}

fn clamped_list() -> Result<(), Failed> {
    let rules = "clamp write net.ipv4.ip_local_port_range to [32768..40000, 50000..60999]\n";
    let runs = Runs::new("t-list", rules);
    let output = runs.script(
        "cd /proc/sys/net/ipv4; echo 01024 65535 >ip_local_port_range && tr '\\t' ' ' <ip_local_port_range",
    );
    assert_eq!(stdout(&output), "32768 60999\n", "{output:?}");
    Ok(())
}

fn ignored() -> Result<(), Failed> {
    let rules = "ignore write net.ipv4.ip_default_ttl, kernel.domainname\n";
    let runs = Runs::new("t-ignore", rules);
    let output = runs.script(
        "cd /proc/sys; echo 100 >net/ipv4/ip_default_ttl && cat net/ipv4/ip_default_ttl
         printf 'a-name-long-enough-for-any' >kernel/domainname; echo $?; cat kernel/domainname",
    );
    let domain = fs::read_to_string("/proc/sys/kernel/domainname")?;
    assert_eq!(stdout(&output), format!("64\n0\n{domain}"));
    Ok(())
}

fn denied_instead() -> Result<(), Failed> {
    let runs = Runs::new("t-dropped", "clamp write net.core.somaxconn to 128..65535\n");
    let output = runs.script(
        "cd /proc/sys/net/core; for value in 300 9999999; do echo $value >somaxconn; cat somaxconn; done",
    );
    assert_eq!(stdout(&output), "300\n300\n");
    assert!(stderr(&output).contains("this kernel drops replacements"), "{output:?}");
    Ok(())
}

fn read() -> Result<(), Failed> {
    let runs = Runs::new("t-read", "deny(EACCES) read kernel.ostype\n");
    let output =
        runs.script("cat /proc/sys/kernel/ostype; cat /proc/sys/kernel/domainname >/dev/null && echo yes");
    assert_eq!(stdout(&output), "yes\n");
    assert!(stderr(&output).contains(denied_with("Permission denied")), "{output:?}");
    Ok(())
}

fn first() -> Result<(), Failed> {
    let runs = Runs::new("t-first", "default read deny\n");
    // The program itself: a shell would take time first.
    let output = runs.command(["cat", "/proc/sys/kernel/ostype"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    let output = runs.script("(setsid sh -c 'cat /proc/sys/kernel/ostype; echo $?')");
    assert_eq!(stdout(&output), "1\n");
    Ok(())
}

fn statuses() -> Result<(), Failed> {
    let runs = Runs::new("t-status", "");
    let cases = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
    ];
    for (script, expected) in cases {
        assert_eq!(runs.script(script).status.code(), Some(expected), "{script}");
        runs.expect_nothing_left();
    }
    Ok(())
}

fn no_command() -> Result<(), Failed> {
    let runs = Runs::new("t-none", "");
    let directory = tempfile::tempdir()?;
    let file = |name: &str, mode: u32, text: &str| -> std::io::Result<String> {
        let path = directory.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path.display().to_string())
    };
    let cases = [
        ("knobgate-no-such-command".to_owned(), 127),
        ("/no/such/command".to_owned(), 127),
        (file("plain", 0o644, "#!/bin/sh\n")?, 126),
        (directory.path().display().to_string(), 126),
        (file("script", 0o755, "#!/no/such/interpreter\n")?, 127),
    ];
    for (command, expected) in cases {
        let output = runs.command([&command]).output()?;
        assert_eq!(output.status.code(), Some(expected), "{command}: {output:?}");
        assert!(stderr(&output).contains(&command), "{output:?}");
        runs.expect_nothing_left();
    }
    Ok(())
}

fn daemons() -> Result<(), Failed> {
    let setting = Runs::new("t-daemon", "");
    let output = setting.script("setsid sleep 1000 >/dev/null 2>&1 & echo $!; trap '' TERM HUP INT");
    assert_eq!(output.status.code(), Some(0));
    let pid: u32 = stdout(&output).trim().parse()?;
    assert!(!is_running(pid));
    Ok(())
}

fn inner_cgroups() -> Result<(), Failed> {
    let setting = Runs::new("t-inner", "");
    let hierarchy = knobgate_testing::root().path().display().to_string();
    let output = setting.script(&format!(
        "inner={hierarchy}$(sed -n s/^0:://p /proc/self/cgroup)/inner; mkdir $inner $inner/most
         sleep 1000 >/dev/null 2>&1 & echo $! >$inner/most/cgroup.procs; echo $!"
    ));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!is_running(stdout(&output).trim().parse()?));
    Ok(())
}

fn deep_cgroups() -> Result<(), Failed> {
    let setting = Runs::new("t-deep", "");
    let hierarchy = knobgate_testing::root().path().display().to_string();
    let nest = format!(
        "cd {hierarchy}$(sed -n s/^0:://p /proc/self/cgroup); for i in $(seq 200); do mkdir x y && cd x || exit 9; done"
    );
    let output = setting.script(&format!("{nest}; exit 7"));
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(!stderr(&output).contains("error"), "{output:?}");
    assert!(children(&setting.parent).is_empty());
    // The guard does it as well.
    let output = setting.script(&format!("{nest}; echo nested; kill -KILL $PPID; exec sleep 1000"));
    assert_eq!(stdout(&output), "nested\n", "{output:?}");
    setting.expect_nothing_left();
    Ok(())
}

fn not_removed() -> Result<(), Failed> {
    let setting = Runs::new("t-not-removed", "");
    let hierarchy = knobgate_testing::root().path().display().to_string();
    let output = setting.script(&format!(
        "inner={hierarchy}$(sed -n s/^0:://p /proc/self/cgroup)/inner; mkdir $inner; mount --bind $inner $inner
         echo $inner; exit 7"
    ));
    assert!(Command::new("umount").arg(stdout(&output).trim()).status()?.success());
    for path in children(&setting.parent) {
        drop(RemoveOnDrop(path.into()));
    }
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(stderr(&output).contains("cannot clean up after the command"), "{output:?}");
    Ok(())
}

fn streams() -> Result<(), Failed> {
    let runs = Runs::new("t-streams", "");
    let mut command = runs.command(["sh", "-c", "cat; echo to stderr >&2; echo $VARIABLE; pwd"]);
    command.env("VARIABLE", "value").current_dir("/tmp");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().ok_or("no stdin")?, b"from stdin\n")?;
    let output = child.wait_with_output()?;
    assert_eq!(stdout(&output), "from stdin\nvalue\n/tmp\n");
    let printed = format!("note: the policy \"t-streams\" is {}", decided_by_the_kernel());
    assert_eq!(stderr(&output), printed + "to stderr\n");
    Ok(())
}

fn leftovers() -> Result<(), Failed> {
    let setting = Runs::new("t-leftovers", "");
    // Beyond the largest pid on Linux.
    let empty = setting.parent.create("knobgate-run-4194305-0")?;
    let nested = setting.parent.create("knobgate-run-4194305-1")?;
    nested.create("a")?.create("b")?;
    nested.create("c")?;
    let used = setting.parent.create("knobgate-run-4194306-0")?;
    let used_below = setting.parent.create("knobgate-run-4194306-1")?.create("a")?;
    let foreign = setting.parent.create("knobgate-running-4194305-0")?;
    let ours = ScratchCgroup::create(&setting.parent, "knobgate-run-")?;
    let sleeper = Reaped(shell(&used, "exec sleep 1000").spawn()?);
    let below = Reaped(shell(&used_below, "exec sleep 1000").spawn()?);
    assert_eq!(setting.script("true").status.code(), Some(0));
    assert!(!empty.path().exists() && !nested.path().exists());
    assert!(used_below.path().exists() && is_running(below.0.id()));
    drop(below);
    assert!(used.path().exists() && foreign.path().exists() && ours.path().exists());
    assert!(is_running(sleeper.0.id()));
    drop(sleeper);
    let used_below = used_below.parent()?.ok_or("no parent")?;
    for cgroup in [used, used_below, foreign] {
        cgroup.kill_and_remove()?;
    }
    Ok(())
}

fn bad_policy() -> Result<(), Failed> {
    let runs = Runs::new("t-bad", "alow write **\n");
    let output = runs.script("echo started");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{output:?}");
    let mut nothing = Command::new(crate::setting::KNOBGATE);
    nothing.args(["run", "--policy", "/no/such/policy", "--", "true"]);
    assert_eq!(nothing.output()?.status.code(), Some(2));
    eventually("nothing was made", || children(&runs.parent).is_empty());
    Ok(())
}

fn wrong_cgroup() -> Result<(), Failed> {
    let file = policy("policy t-wrong-cgroup\n");
    for place in ["/no/such/cgroup", "no-such-cgroup", "/proc", "/dev/null"] {
        let mut run = Command::new(crate::setting::KNOBGATE);
        run.args(["run", "--cgroup", place, "--policy"]).arg(file.path()).args(["--", "echo", "started"]);
        let output = run.output()?;
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{output:?}");
        assert!(stderr(&output).contains(place), "{output:?}");
    }
    Ok(())
}

/// The kernel's handler of this knob continues after a NUL.
fn after_nul() -> Result<(), Failed> {
    let runs = Runs::new("t-nul", "allow write net.ipv4.ip_local_reserved_ports if new == \"1-5\"\n");
    let output = runs.script(
        "cd /proc/sys/net/ipv4; for ports in '1-5\\0006000-7000' '1-5\\n\\0006000' '1-5' '1-5\\000'; do
            printf \"$ports\" 2>/dev/null >ip_local_reserved_ports && printf 'yes ' || printf 'no '
            cat ip_local_reserved_ports
         done 2>/dev/null",
    );
    assert_eq!(stdout(&output), "no \nno \nyes 1-5\nyes 1-5\n");
    Ok(())
}
