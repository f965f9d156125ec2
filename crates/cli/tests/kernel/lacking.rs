use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use knobgate_hook::Profile;
use knobgate_testing::{Test, deny_bpf, scratch};
use libtest_mimic::Failed;

use crate::setting::{KNOBGATE, apart, copy_for_others, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("without_root_nothing_is_started_and_the_capabilities_are_named", no_root),
    ("without_cgroup_v2_nothing_is_started_and_the_error_says_how_to_mount_it", no_cgroups),
    ("running_out_of_descriptors_is_reported", no_descriptors),
    ("errnos_of_bpf_are_reported_with_their_cause", answers),
    ("root_in_a_user_namespace_gets_the_reason", in_user_namespace),
    ("without_a_bpffs_nothing_is_attached_and_the_error_says_how_to_mount_it", no_bpffs),
];

/// Tests for kernels that count programs and maps as locked memory.
pub(crate) const LOCKED: &[Test] = &[("a_low_limit_of_locked_memory_is_raised_or_reported", locked)];

/// What they require.
pub(crate) fn locked_memory(profile: &Profile) -> Option<String> {
    (profile.version >= (5, 11))
        .then(|| format!("{profile} does not count programs and maps as locked memory"))
}

fn locked() -> Result<(), Failed> {
    let file = policy("policy t-locked\nset write kernel.domainname to \"a\"\n");
    let verified = |before: &[&str]| {
        let mut command = Command::new("prlimit");
        command.args(["--memlock=4096:4096"]).args(before).args([KNOBGATE, "verify", "--policy"]);
        command.arg(file.path()).output()
    };
    let raised = verified(&[])?;
    assert_eq!(raised.status.code(), Some(0), "{raised:?}");
    // Without permission to raise it, the error says what to do.
    let failed = verified(&["setpriv", "--bounding-set", "-sys_resource"])?;
    assert_ne!(failed.status.code(), Some(0), "{failed:?}");
    assert!(stderr(&failed).contains("programs and maps count as locked memory"), "{failed:?}");
    Ok(())
}

fn no_root() -> Result<(), Failed> {
    let file = policy("policy t-nobody\n");
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let copy = copy_for_others();
    let nobody = |arguments: &[&str]| {
        Command::new(copy.path().join("knobgate")).args(arguments).uid(65_534).gid(65_534).output()
    };
    let path = file.path().to_str().ok_or("a path")?;
    let output = nobody(&["run", "--policy", path, "--", "echo", "started"])?;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""), "{output:?}");
    assert!(stderr(&output).contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"), "{output:?}");
    // There is no verdict on the policy: no verifier has seen it.
    let output = nobody(&["verify", "--json", "--policy", path])?;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""), "{output:?}");
    assert!(stderr(&output).contains("cannot verify the policy \"t-nobody\": "), "{output:?}");
    assert!(stderr(&output).contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"), "{output:?}");

    let cgroup = scratch();
    let place = cgroup.path().to_str().ok_or("a path")?;
    // Other users cannot see the attachments.
    let attached = Command::new(KNOBGATE).args(["attach", "--policy", path, "--cgroup", place]).output()?;
    assert!(attached.status.success(), "{attached:?}");
    for arguments in [
        &["attach", "--policy", path, "--cgroup", place][..],
        &["list"],
        &["show", "t-nobody"],
        &["watch"],
        &["watch", "t-nobody"],
        &["log", "t-nobody"],
        &["detach", "t-nobody"],
        &["doctor"],
    ] {
        let output = nobody(arguments)?;
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
    }
    let output = nobody(&["doctor"])?;
    assert!(stdout(&output).contains("run as root"), "{output:?}");
    let detached = Command::new(KNOBGATE).args(["detach", "t-nobody"]).output()?;
    assert!(detached.status.success(), "{detached:?}");
    Ok(())
}

fn no_descriptors() -> Result<(), Failed> {
    let file = policy("policy t-no-files\ndefault write deny\n");
    let path = file.path().to_str().ok_or("a path")?;
    let mut hints = 0;
    for limit in 5..20 {
        let limit = format!("--nofile={limit}");
        let limited =
            |arguments: &[&str]| Command::new("prlimit").args([&limit, KNOBGATE]).args(arguments).output();
        for output in
            [limited(&["verify", "--policy", path])?, limited(&["run", "--policy", path, "--", "true"])?]
        {
            if output.status.success() {
                continue;
            }
            assert_eq!(output.status.code(), Some(3), "{output:?}");
            assert!(stderr(&output).contains("Too many open files"), "{output:?}");
            hints += u32::from(stderr(&output).contains("ulimit -n"));
        }
    }
    assert!(hints > 0, "loading a program was among what failed");
    Ok(())
}

/// The argument that makes this program start another one, for which a command of bpf(2) fails with an errno.
const WITHOUT_BPF: &str = "--without-bpf";

/// The beginning of a command line. The program that follows it runs with this command of bpf(2) failing.
pub(crate) fn without_bpf(command: u32, errno: i32) -> std::io::Result<Command> {
    let mut filtered = Command::new(std::env::current_exe()?);
    filtered.args([WITHOUT_BPF, &command.to_string(), &errno.to_string()]);
    Ok(filtered)
}

pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let [command, errno, program, arguments @ ..] = arguments else { return None };
    if role != WITHOUT_BPF {
        return None;
    }
    deny_bpf(command.to_str()?.parse().ok()?, errno.to_str()?.parse().ok()?);
    eprintln!("{}", Command::new(program).args(arguments).exec());
    Some(ExitCode::FAILURE)
}

fn answers() -> Result<(), Failed> {
    const PROG_LOAD: u32 = 5;
    const PROG_ATTACH: u32 = 8;
    const LINK_CREATE: u32 = 28;
    let file = policy("policy t-answers\ndefault write deny\n");
    let cgroup = scratch();
    let (file, place) = (file.path().to_str().ok_or("a path")?, cgroup.path().to_str().ok_or("a path")?);
    let run = ["run", "--policy", file, "--cgroup", place, "--", "echo", "started"];
    let attach = ["attach", "--policy", file, "--cgroup", place];
    for (command, errno, expected) in [
        (
            PROG_LOAD,
            libc::EMFILE,
            "Too many open files (os error 24); raise the limit of open files of this process",
        ),
        (PROG_LOAD, libc::ENFILE, "raise the limit of open files of this machine: fs.file-max"),
        (PROG_LOAD, libc::ENOMEM, "there is not enough memory for it"),
        (PROG_LOAD, libc::EAGAIN, "signals kept interrupting the verifier"),
        (PROG_LOAD, libc::EINTR, "signals kept interrupting the verifier"),
        (PROG_LOAD, libc::ENOSYS, "this kernel has no bpf(2), or a seccomp(2) filter forbids it"),
        (PROG_LOAD, libc::EPERM, "a security module, lockdown or a seccomp filter may forbid it"),
        (PROG_LOAD, libc::EACCES, "Permission denied (os error 13); a security module may forbid it"),
        (PROG_LOAD, libc::E2BIG, "Argument list too long"),
        (PROG_LOAD, libc::EIO, "cannot load \"t-answers\": Input/output error"),
        (PROG_LOAD, libc::EINVAL, "this kernel does not know the program type"),
        (PROG_ATTACH, libc::EPERM, "not permitted, although no program conflicts: a security module"),
        (PROG_ATTACH, libc::ENOMEM, "Cannot allocate memory"),
        (LINK_CREATE, libc::EMFILE, "Too many open files"),
        (LINK_CREATE, libc::ENOMEM, "Cannot allocate memory"),
        (LINK_CREATE, libc::EPERM, "not permitted, although no program conflicts: a security module"),
        (LINK_CREATE, libc::E2BIG, "it has 64 programs"),
    ] {
        let mut filtered = without_bpf(command, errno)?;
        let output =
            filtered.arg(KNOBGATE).args(if command == LINK_CREATE { &attach[..] } else { &run }).output()?;
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""), "{output:?}");
        let printed = stderr(&output);
        assert!(printed.contains(expected), "{errno}: {printed}");
        assert!(
            !printed.contains("verifier rejects") && !printed.contains("gave no reason"),
            "{errno}: {printed}"
        );
    }
    Ok(())
}

fn in_user_namespace() -> Result<(), Failed> {
    let file = policy("policy t-user-ns\n");
    let path = file.path().to_str().ok_or("a path")?;
    let inside = |arguments: &[&str]| {
        Command::new("unshare").args(["--user", "--map-root-user", KNOBGATE]).args(arguments).output()
    };
    for arguments in [&["verify", "--policy", path][..], &["run", "--policy", path, "--", "true"]] {
        let output = inside(arguments)?;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(stderr(&output).contains("this process is in a user namespace"), "{output:?}");
        for wrong in ["ulimit", "run it as root", "security module"] {
            assert!(!stderr(&output).contains(wrong), "{output:?}");
        }
    }
    let output = inside(&["doctor"])?;
    assert!(stdout(&output).contains("in a user namespace"), "{output:?}");
    Ok(())
}

fn no_cgroups() -> Result<(), Failed> {
    let file = policy("policy t-no-cgroups\n");
    let path = file.path().to_str().ok_or("a path")?;
    let script = "umount -a -t cgroup2 && ! grep -q ' - cgroup2 ' /proc/self/mountinfo && exec \"$0\" \"$@\"";
    let output = apart(script, &["run", "--policy", path, "--", "echo", "started"])?;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""), "{output:?}");
    assert!(stderr(&output).contains("mount -t cgroup2"), "{output:?}");
    let output = apart(script, &["doctor"])?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stdout(&output).contains("mount -t cgroup2"), "{output:?}");
    Ok(())
}

fn no_bpffs() -> Result<(), Failed> {
    let file = policy("policy t-no-bpffs\n");
    let cgroup = scratch();
    let (path, place) = (file.path().to_str().ok_or("a path")?, cgroup.path().to_str().ok_or("a path")?);
    let script = "umount -a -t bpf && exec \"$0\" \"$@\"";
    let output = apart(script, &["watch"])?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("mount -t bpf"), "{output:?}");
    let output = apart(script, &["attach", "--policy", path, "--cgroup", place])?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("mount -t bpf"), "{output:?}");
    let output = apart(script, &["run", "--policy", path, "--cgroup", place, "--", "echo", "started"])?;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "started\n"), "{output:?}");
    let output = apart(script, &["doctor"])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("mount -t bpf"), "{output:?}");
    Ok(())
}
