//! Commands in a user namespace to which BPF is delegated, by a user who has no privileges outside of it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use knobgate_kernel::{Cgroup, ProcessFd, ProcessId, ScratchCgroup, start_inside};
use knobgate_testing::{Reaped, Test, scratch};
use libtest_mimic::Failed;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use tempfile::TempDir;

use crate::setting::{copy_for_others, expect, knobgate, policy, stderr};

/// They need tokens.
pub(crate) const TESTS: &[Test] = &[
    ("with_a_bpf_token_policies_are_run_attached_and_detached", delegated),
    ("with_a_bpf_token_what_is_attached_is_not_shown_or_replaced", hidden),
    ("each_thing_that_a_bpffs_does_not_delegate_is_named", not_delegated),
    ("what_is_no_bpf_token_is_named", no_token),
];

/// Nobody, outside of the user namespace.
const USER: u32 = 65534;
/// The options of a bpffs that delegate something.
type Options<'a> = &'a [(&'a str, &'a str)];

/// Everything.
const ALL: Options<'static> = &[
    ("delegate_cmds", "any"),
    ("delegate_maps", "any"),
    ("delegate_progs", "any"),
    ("delegate_attachs", "any"),
];
/// Judges a knob that root of a user namespace may write, in a network namespace of that.
const POLICY: &str =
    "policy t-token\nallow read **\ndeny(EACCES) write net.ipv4.ip_nonlocal_bind\nallow write **\n";
/// The argument that makes this program open a bpffs, for another process to say what it delegates, and mount it.
const MOUNTS: &str = "--mount-delegated";

/// As root of a user namespace: opens a bpffs, and prints its descriptor. After a byte of standard input, mounts it at
/// `/sys/fs/bpf`, and executes `arguments`.
pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let [program, arguments @ ..] = arguments else { return None };
    if role != MOUNTS {
        return None;
    }
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC).expect("fsopen");
    println!("{}", context.as_raw_fd());
    std::io::stdin().read_exact(&mut [0]).expect("a byte");
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).expect("fsmount");
    let (from, to) = ("", "/sys/fs/bpf");
    move_mount(&mounted, from, rustix::fs::CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .expect("a mount");
    eprintln!("{}", Command::new(program).args(arguments).exec());
    Some(ExitCode::FAILURE)
}

/// Cgroups that belong to the user, and files for it.
struct Delegated {
    files: TempDir,
    cgroup: ScratchCgroup,
    /// In which the user is.
    own: Cgroup,
}

impl Delegated {
    fn new() -> Result<Self, Failed> {
        let files = copy_for_others();
        let test = std::env::current_exe()?;
        let copied = Command::new("cp").arg(test).arg(files.path().join("test")).status()?;
        assert!(copied.success());
        std::fs::write(files.path().join("p.knob"), POLICY)?;
        let cgroup = scratch();
        let own = cgroup.create("own")?;
        cgroup.create("other")?;
        for place in ["", "own", "other"] {
            let directory = cgroup.path().join(place);
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                chown(directory.join(file), Some(USER), Some(USER))?;
            }
        }
        Ok(Self { files, cgroup, own })
    }

    /// Runs `script` as root of a user namespace in which `/sys/fs/bpf` has these options, and returns what it prints. `$K` is
    /// knobgate, `$P` the policy, and `$C` the other cgroup.
    fn sh(&self, options: Options<'_>, script: &str) -> Result<String, Failed> {
        let user = format!("--reuid={USER}");
        let group = format!("--regid={USER}");
        let mut command = Command::new("setpriv");
        command.args([&user, &group, "--clear-groups", "unshare", "--user", "--map-root-user", "--mount"]);
        command.args(["--net", "--uts", "--ipc"]).arg(self.files.path().join("test")).arg(MOUNTS);
        command.args(["sh", "-c", &format!("exec 2>&1; {script}")]).current_dir("/");
        command.env("K", self.files.path().join("knobgate")).env("P", self.files.path().join("p.knob"));
        command.env("C", self.cgroup.path().join("other"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        start_inside(&mut command, &self.own)?;
        let mut child = Reaped(command.spawn()?);
        let mut printed = BufReader::new(child.0.stdout.take().ok_or("standard output")?);
        let mut fd = String::new();
        printed.read_line(&mut fd)?;
        let context = taken(child.0.id(), fd.trim().parse()?)?;
        for (option, value) in options {
            fsconfig_set_string(&context, *option, *value)?;
        }
        fsconfig_create(&context)?;
        child.0.stdin.take().ok_or("standard input")?.write_all(b"\n")?;
        let mut text = String::new();
        printed.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Another process's descriptor.
fn taken(pid: u32, fd: i32) -> Result<OwnedFd, Failed> {
    let process = ProcessFd::open(ProcessId::new(pid).ok_or("a process id")?)?;
    Ok(pidfd_getfd(process.as_fd(), fd, PidfdGetfdFlags::empty())?)
}

fn expect_all(printed: &str, expected: &[&str]) {
    for part in expected {
        assert!(printed.contains(part), "{part:?} is not in:\n{printed}");
    }
}

const RUN: &str = "$K run --policy $P --bpf-token /sys/fs/bpf";
/// Prints whether the policy is in force.
const WRITES: &str = "echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_nonlocal_bind && echo written || echo denied";

fn delegated() -> Result<(), Failed> {
    let place = Delegated::new()?;
    let printed = place.sh(ALL, "$K verify --policy $P; $K verify --policy $P --bpf-token /sys/fs/bpf")?;
    expect_all(
        &printed,
        &["or with a BPF token if there is one for this user namespace", "is accepted by the verifier"],
    );
    assert!(!printed.contains("does not have its source lines"), "{printed}");

    let printed = place.sh(ALL, &format!("{RUN} --strict -- sh -c '{WRITES}'; {WRITES}"))?;
    let summary = "1× DENY EACCES   write net.ipv4.ip_nonlocal_bind \"1\\n\" was \"0\\n\"";
    expect_all(&printed, &["denied\n", "decided by the kernel's hook", summary, "\nwritten\n"]);
    assert!(!printed.contains("warning") && !printed.contains("error"), "{printed}");

    let attach = "$K attach --policy $P --bpf-token /sys/fs/bpf --cgroup $C";
    let inside = format!("sh -c 'echo 0 >$C/cgroup.procs; {WRITES}'");
    let printed = place.sh(ALL, &format!("{attach}; {inside}; $K detach t-token; {inside}"))?;
    expect_all(
        &printed,
        &["t-token: attached the policy", "\ndenied\n", "t-token: detached from", "\nwritten\n"],
    );

    let doctor = "$K doctor --bpf-token /sys/fs/bpf --json; echo = $?";
    let printed = place.sh(ALL, doctor)?;
    expect_all(&printed, &["in a user namespace with a BPF token of /sys/fs/bpf", "\n= 0\n"]);
    let works = |what: &str| printed.lines().any(|line| line.contains(what) && line.contains("\"ok\""));
    assert!(works("\"hook\"") && works("\"links\"") && works("\"departures\""), "{printed}");
    Ok(())
}

fn hidden() -> Result<(), Failed> {
    let place = Delegated::new()?;
    let attach = "$K attach --policy $P --bpf-token /sys/fs/bpf --cgroup $C";
    let script =
        format!("{attach} && for c in \"{attach}\" '$K show t-token' '$K list'; do eval $c; echo = $?; done");
    let printed = place.sh(ALL, &script)?;
    let why = "in the initial user namespace, where this process is not; a BPF token is not enough";
    let said = [
        "error: cannot replace the attachment \"t-token\": cannot open the program",
        "error: cannot show the attachment \"t-token\": cannot open the program",
        "error: cannot list what is attached: cannot query the programs",
    ];
    expect_all(&printed, &said);
    assert_eq!((printed.matches(why).count(), printed.matches("\n= 3\n").count()), (3, 3), "{printed}");
    Ok(())
}

fn not_delegated() -> Result<(), Failed> {
    let place = Delegated::new()?;
    let needed = "it has to be mounted with delegate_progs=cgroup_sysctl and delegate_attachs=cgroup_sysctl";
    let cases: [(Options<'_>, &[&str], &str); 6] = [
        (&[], &["the bpffs at /sys/fs/bpf delegates nothing"], "= 3"),
        (&[("delegate_cmds", "any"), ("delegate_maps", "any")], &[needed], "= 3"),
        (
            &[("delegate_cmds", "0x20"), ALL[1], ALL[2], ALL[3]],
            &["it has to be mounted with delegate_cmds=map_create"],
            "= 3",
        ),
        (
            &[ALL[0], ("delegate_maps", "0x2"), ALL[2], ALL[3]],
            &[
                "cannot create the map \"rule_hits\": the bpffs at /sys/fs/bpf does not delegate that",
                "delegate_maps=array",
            ],
            "= 3",
        ),
        (
            // Arrays alone.
            &[ALL[0], ("delegate_maps", "0x4"), ALL[2], ALL[3]],
            &[
                "mounted without delegate_maps=hash and delegate_maps=array_of_maps and delegate_maps=queue and delegate_maps=ringbuf",
                "they send no events",
                "processes that leave the policy cannot be reported: cannot create the map \"processes\"",
                "denied\n",
            ],
            "= 0",
        ),
        (
            // For this hook alone, and without BTF.
            &[
                ("delegate_cmds", "0x21"),
                ALL[1],
                ("delegate_progs", "0x800000"),
                ("delegate_attachs", "0x40000"),
            ],
            &[
                "mounted without delegate_cmds=btf_load: policies have no line information",
                "it has to be mounted with delegate_progs=raw_tracepoint and delegate_attachs=cgroup_inet_ingress",
                "denied\n",
            ],
            "= 0",
        ),
    ];
    for (options, expected, status) in cases {
        let printed = place.sh(options, &format!("{RUN} -- sh -c '{WRITES}'; echo = $?"))?;
        expect_all(&printed, expected);
        assert!(printed.ends_with(&format!("{status}\n")), "{options:?}: {printed}");
    }
    Ok(())
}

fn no_token() -> Result<(), Failed> {
    let place = Delegated::new()?;
    let at = |path: &str| format!("$K run --policy $P --bpf-token {path} -- true; echo = $?");
    let cases = [
        (at("/nowhere"), "cannot open /nowhere: No such file or directory", "= 2"),
        (at("/proc"), "/proc is not on a bpffs", "= 2"),
        // Opening it would wait for somebody who writes.
        (
            format!("mount -t tmpfs t /mnt; mkfifo /mnt/pipe; {}", at("/mnt/pipe")),
            "cannot open /mnt/pipe: Not a directory",
            "= 2",
        ),
        (format!("mkdir /sys/fs/bpf/x; {}", at("/sys/fs/bpf/x")), "is not where a bpffs is mounted", "= 2"),
        (
            format!("setpriv --bounding-set=-bpf --inh-caps=-all sh -c '{}'", at("/sys/fs/bpf")),
            "a BPF token takes CAP_BPF in the user namespace of this process",
            "= 3",
        ),
        (
            format!("unshare --user --map-root-user sh -c '{}'", at("/sys/fs/bpf")),
            "the bpffs at /sys/fs/bpf belongs to another user namespace",
            "= 3",
        ),
        (
            at("/sys/fs/bpf").replace(" --bpf-token /sys/fs/bpf", ""),
            "where its capabilities do not count",
            "= 3",
        ),
    ];
    for (script, expected, status) in cases {
        let printed = place.sh(ALL, &script)?;
        expect_all(&printed, &[expected]);
        assert!(printed.ends_with(&format!("{status}\n")), "{script}: {printed}");
    }
    let doctor = expect(2, ["doctor", "--bpf-token", "/sys/fs/bpf", "--pid", "1"]);
    expect_all(&stderr(&doctor), &["leave it out to examine a process"]);
    let policy = policy(POLICY);
    let mut outside = knobgate(["run", "--bpf-token", "/sys/fs/bpf", "--policy"]);
    let outside = outside.arg(policy.path()).args(["--", "true"]).output()?;
    assert_eq!(outside.status.code(), Some(3), "{outside:?}");
    expect_all(&stderr(&outside), &["this process is in the initial user namespace"]);
    Ok(())
}
