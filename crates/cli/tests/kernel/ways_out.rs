//! The ways out of a policy: a process leaves exactly if `doctor` says that it could.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use knobgate_kernel::test_util::open_by_handle;
use knobgate_kernel::{Cgroup, Link, LoadOptions, load, probe_cached, spawn_inside, start_inside};
use knobgate_policy::{CheckOptions, Source, parse};
use knobgate_testing::{Reaped, Test, scratch};
use libtest_mimic::Failed;
use rustix::process::WaitOptions;

use crate::setting::{KNOBGATE, stdout};

pub(crate) const TESTS: &[Test] = &[("a_process_leaves_its_cgroup_exactly_if_doctor_says_so", leaving)];

/// The argument that makes this program try to leave for a cgroup.
pub(crate) const LEAVER: &str = "--leave";

/// Reports that it is ready, waits, and tries to get into the cgroup at this path.
pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let [cgroup] = arguments else { return None };
    if role != LEAVER {
        return None;
    }
    println!("ready {}", std::process::id());
    let _ = std::io::stdin().read(&mut [0]);
    let by_handle = cgroup.to_str().and_then(|target| target.strip_prefix("handle ")).map(open_target);
    let opened = match &by_handle {
        Some(Ok(directory)) => Some(format!("/proc/self/fd/{}", directory.as_raw_fd())),
        Some(Err(error)) => {
            println!("false false: {error}");
            return Some(ExitCode::SUCCESS);
        }
        None => None,
    };
    let path = opened.as_ref().map_or(Path::new(cgroup), Path::new);
    if path.ends_with("new") {
        let _ = fs::create_dir(path);
    }
    // First with a child, which leaves this process where it is.
    let child = Cgroup::open(path).map_err(|error| error.to_string()).and_then(|cgroup| {
        let child = spawn_inside(&mut Command::new("true"), &cgroup).map_err(|error| error.to_string())?;
        child.wait(WaitOptions::empty()).map_err(|error| error.to_string())
    });
    // An inherited descriptor is used as it is: opening it again needs other permissions.
    let moved = match path.strip_prefix("/proc/self/fd") {
        Ok(_) if !path.is_dir() => write_to_nine(),
        _ => fs::write(path.join("cgroup.procs"), "0"),
    };
    println!("{} {}: child {child:?}, moved {moved:?}", child.is_ok(), moved.is_ok());
    Some(ExitCode::SUCCESS)
}

/// Opens a cgroup by its id and a mount of the hierarchy: `ID MOUNT`.
fn open_target(target: &str) -> Result<OwnedFd, Box<dyn std::error::Error>> {
    let (id, mount) = target.split_once(' ').ok_or("no mount")?;
    Ok(open_by_handle(fs::File::open(mount)?.as_fd(), id.parse()?)?)
}

/// Makes a shell write to descriptor 9, to leave by it.
fn write_to_nine() -> std::io::Result<()> {
    let status = Command::new("sh").args(["-c", "echo 0 >&9"]).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(std::io::ErrorKind::PermissionDenied.into()) }
}

/// A process, its environment, and whether it can leave.
struct Case {
    what: &'static str,
    /// A script that sets up the environment, and then executes `"$@"`. `$TOP` is above both cgroups, `$HELD` the one
    /// with the policy, `$OTHER` the one next to it, and `$MOUNT` the mount of the hierarchy.
    script: &'static str,
    /// Whether it can leave.
    leaves: Leaves,
    /// The path by which it reaches the other cgroup.
    target: &'static str,
}

const CASES: &[Case] = &[
    Case { what: "root without capabilities", script: "ROOT", leaves: Leaves::Yes, target: "$OTHER" },
    Case {
        what: "root without capabilities, and all of the hierarchy mounted read-only",
        script: "exec unshare --mount sh -c 'mount -o remount,bind,ro \"$MOUNT\" && ROOT' sh \"$@\"",
        leaves: Leaves::Yes,
        target: "$OTHER",
    },
    Case { what: "another user", script: "USER", leaves: Leaves::No, target: "$OTHER" },
    Case {
        what: "another user, who owns both cgroups but not those above",
        script: "chown 1000 \"$HELD/cgroup.procs\" \"$OTHER/cgroup.procs\" && USER",
        leaves: Leaves::No,
        target: "$OTHER",
    },
    Case {
        what: "another user, who owns the whole tree",
        script: "chown 1000 \"$OTHER/cgroup.procs\" \"$TOP/cgroup.procs\" && USER",
        leaves: Leaves::Yes,
        target: "$OTHER",
    },
    Case {
        what: "a group to which all of it is delegated",
        script: "for at in \"$OTHER\" \"$TOP\"; do chgrp 1000 \"$at/cgroup.procs\" && chmod g+w \"$at/cgroup.procs\"; done; USER",
        leaves: Leaves::Yes,
        target: "$OTHER",
    },
    Case {
        what: "root without capabilities in a cgroup namespace that still shows all",
        script: "exec unshare --cgroup sh -c 'ROOT' sh \"$@\"",
        leaves: Leaves::Undelegated,
        target: "$OTHER",
    },
    Case {
        what: "root without capabilities in a cgroup namespace that shows nothing else",
        script: "exec unshare --cgroup --mount sh -c 'NAMESPACE && ROOT' sh \"$@\"",
        leaves: Leaves::No,
        target: "$OTHER",
    },
    Case {
        what: "the same, with a directory open",
        script: "exec 9<\"$OTHER\"; exec unshare --cgroup --mount sh -c 'NAMESPACE && ROOT' sh \"$@\"",
        leaves: Leaves::Undelegated,
        target: "/proc/self/fd/9",
    },
    Case {
        what: "the same, with CAP_DAC_READ_SEARCH",
        script: "exec unshare --cgroup --mount sh -c 'NAMESPACE && SEARCH' sh \"$@\"",
        leaves: Leaves::Undelegated,
        target: "handle $ID $MOUNT",
    },
    Case {
        what: "the same, without",
        script: "exec unshare --cgroup --mount sh -c 'NAMESPACE && ROOT' sh \"$@\"",
        leaves: Leaves::No,
        target: "handle $ID $MOUNT",
    },
    Case {
        what: "CAP_DAC_READ_SEARCH that sees no cgroups",
        script: "exec unshare --mount sh -c 'umount -l \"$MOUNT\" && SEARCH' sh \"$@\"",
        leaves: Leaves::No,
        target: "handle $ID $MOUNT",
    },
    Case {
        what: "another user, who owns only the part of the tree without other cgroups",
        script: "rmdir \"$OTHER\"; chown 1000 \"$TOP\" \"$TOP/cgroup.procs\" && USER",
        leaves: Leaves::Yes,
        target: "$TOP/new",
    },
    Case {
        what: "another user with cgroup.procs of another cgroup open",
        script: "exec 9>\"$OTHER/cgroup.procs\"; exec unshare --mount sh -c 'umount -l \"$MOUNT\" && USER' sh \"$@\"",
        leaves: Leaves::Yes,
        target: "/proc/self/fd/9",
    },
    Case {
        what: "root without capabilities that sees no cgroups",
        script: "exec unshare --mount sh -c 'umount -l \"$MOUNT\" && ROOT' sh \"$@\"",
        leaves: Leaves::No,
        target: "$OTHER",
    },
];

/// Whether a process can leave its cgroup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Yes,
    No,
    /// Cases that need a hierarchy without `nsdelegate`, where cgroup namespaces are not boundaries.
    Undelegated,
}

/// Abbreviations in the scripts: becoming root without capabilities or with a single one, becoming another user, and a
/// mount that shows only the namespace's own cgroups.
const WORDS: [(&str, &str); 4] = [
    ("ROOT", "exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\""),
    ("SEARCH", "exec setpriv --bounding-set=-all,+dac_read_search --inh-caps=-all -- \"$@\""),
    (
        "USER",
        "exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all -- \"$@\"",
    ),
    ("NAMESPACE", "umount -l \"$MOUNT\" && mount -t cgroup2 none \"$MOUNT\""),
];

fn leaving() -> Result<(), Failed> {
    let file = parse(Source::new("t-leaving.knob", "policy t-leaving\n"), &CheckOptions::default())
        .map_err(|errors| format!("{errors:?}"))?;
    let compiled = knobgate_compiler::compile(&file, &probe_cached().features())?;
    let loaded = load(compiled.program(), &LoadOptions::default())?;
    let hierarchy = knobgate_kernel::Hierarchy::find()?;
    let delegated = hierarchy.delegates_to_namespaces();
    let mount = hierarchy.path();
    for Case { what, script, leaves, target } in CASES {
        let top = scratch();
        let (held, other) = (top.create("held by name")?, top.create("other")?);
        let _link = Link::create(&loaded.program, &held)?;
        let path = |cgroup: &Cgroup| cgroup.path().display().to_string();
        let named = |text: &str| {
            let text = text.replace("$OTHER", &path(&other)).replace("$TOP", &path(&top));
            text.replace("$ID", &other.id().to_string()).replace("$MOUNT", &mount.display().to_string())
        };
        let script =
            WORDS.iter().fold((*script).to_owned(), |script, (word, meaning)| script.replace(word, meaning));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(std::env::current_exe()?).arg(LEAVER).arg(named(target));
        command
            .env("TOP", path(&top))
            .env("HELD", path(&held))
            .env("OTHER", path(&other))
            .env("MOUNT", mount);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        start_inside(&mut command, &held)?;
        let mut leaver = Reaped(command.spawn()?);
        let mut output = BufReader::new(leaver.0.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let pid = line.trim().strip_prefix("ready ").ok_or_else(|| format!("{what}: {line:?}"))?.to_owned();

        let printed = stdout(&Command::new(KNOBGATE).args(["doctor", "--pid", &pid]).output()?);
        leaver.0.stdin.take().ok_or("no input")?.write_all(b"\n")?;
        line.clear();
        output.read_line(&mut line)?;
        let leaves = match leaves {
            Leaves::Yes => true,
            Leaves::No => false,
            Leaves::Undelegated => !delegated,
        };
        let tried = line.starts_with("true") || line.split(' ').nth(1) == Some("true:");
        let finding: Vec<&str> =
            printed.lines().skip_while(|line| !line.contains("leaving its cgroup")).take(2).collect();
        let claims = finding.first().ok_or_else(|| format!("{what}: {printed}"))?.contains("possible");
        assert_eq!((claims, tried), (leaves, leaves), "{what}: {finding:?}; {line}");
    }
    Ok(())
}
