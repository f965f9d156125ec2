//! Detaching and replacing the policy.

use std::io::Read;
use std::path::Path;

use knobgate_kernel::{Cgroup, Link, ProgramFd, prog_detach};
use knobgate_testing::{Test, profile};
use libtest_mimic::Failed;
use rustix::mount::UnmountFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Case, Did, Stage};

pub(super) const TESTS: &[Test] = &[
    ("a_process_detaches_the_policy_exactly_if_doctor_says_so", detaching),
    ("a_process_detaches_the_policy_of_a_run_exactly_if_doctor_says_so", of_a_run),
    ("a_process_detaches_through_another_one_exactly_if_doctor_says_so", by_others),
];

/// The argument that makes this program detach all links of a cgroup, and all programs that are attached without one.
pub(super) const DETACH_BY_ID: &str = "--detach-by-id";
/// … that makes it detach a link by its pin.
pub(super) const DETACH_PINNED: &str = "--detach-pinned";
/// … that makes it open this link, give up all capabilities, behave like the process of a case, and detach the link.
pub(super) const HOLD_LINK: &str = "--hold-link";
/// … the same with the program of this cgroup.
pub(super) const HOLD_PROGRAM: &str = "--hold-program";

pub(super) fn detach_by_id(cgroup: &Path) -> Did {
    let cgroup = Cgroup::open(cgroup)?;
    let mut detached = 0;
    for link in Link::all()?.into_iter().filter(|link| link.cgroup_id == Some(cgroup.id())) {
        Link::by_id(link.id)?.detach()?;
        detached += 1;
    }
    // On Linux 5.10, a query takes CAP_NET_ADMIN. Detaching a program that is not attached fails.
    for id in ProgramFd::all_ids()? {
        let Ok(program) = ProgramFd::by_id(id) else { continue };
        detached += u32::from(prog_detach(&program, &cgroup).is_ok());
    }
    if detached > 0 { Ok(()) } else { Err("nothing was detached".into()) }
}

pub(super) fn detach_pinned(pin: &Path) -> Did {
    Ok(Link::from_pin(pin)?.detach()?)
}

pub(super) fn hold_link(pin: &Path) -> Did {
    let link = Link::from_pin(pin)?;
    without_capabilities(|| Ok(link.detach()?))
}

pub(super) fn hold_program(cgroup: &Path) -> Did {
    let cgroup = Cgroup::open(cgroup)?;
    let id = cgroup.attached()?.program_ids.pop().ok_or("no program")?;
    let program = ProgramFd::by_id(id)?;
    without_capabilities(|| Ok(prog_detach(&program, &cgroup)?))
}

/// Acts as the process of a case.
fn without_capabilities(tries: impl FnOnce() -> Did) -> Did {
    rustix::mount::unmount("/sys/fs/bpf", UnmountFlags::DETACH)?;
    for capability in CapabilitySet::all().iter() {
        // Capabilities that this kernel does not have.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    println!("ready {}", std::process::id());
    let _ = std::io::stdin().read(&mut [0])?;
    match tries() {
        Ok(()) => println!("did"),
        Err(error) => println!("failed {error}"),
    }
    Ok(())
}

const REMOVE: &str = "rm -r \"$PINS\"";
const DETACH: &str = "$KNOBGATE detach \"$NAME\"";
const UNMOUNT: &str = "exec unshare --mount sh -c 'umount -l /sys/fs/bpf && ROOT[]' sh \"$@\"";

const CASES: &[Case<'_>] = &[
    Case { what: "root", setup: "exec \"$@\"", tries: DETACH, works: true, says: "by its id" },
    Case {
        what: "root that replaces it",
        setup: "exec \"$@\"",
        tries: "printf 'policy other\\ndefault write allow\\n' |
                $KNOBGATE attach --policy /dev/stdin --cgroup \"$HELD\" --name \"$NAME\"",
        works: true,
        says: "by its id",
    },
    Case {
        what: "CAP_SYS_ADMIN alone, with no bpffs in sight",
        setup: "exec unshare --mount sh -c 'umount -l /sys/fs/bpf && ROOT[,+sys_admin]' sh \"$@\"",
        tries: "\"$SELF\" --detach-by-id \"$HELD\"",
        works: true,
        says: "by its id",
    },
    Case {
        what: "another user that can become root with CAP_SYS_ADMIN",
        setup: "USER[,+setuid,+sys_admin]",
        tries: "setpriv --reuid=0 \"$SELF\" --detach-by-id \"$HELD\"",
        works: true,
        says: "by its id",
    },
    Case {
        what: "root without capabilities",
        setup: "ROOT[]",
        tries: REMOVE,
        works: true,
        says: "possible: it can remove the pins at /sys/fs/bpf/knobgate",
    },
    Case { what: "another user", setup: "USER[]", tries: REMOVE, works: false, says: "possible" },
    Case {
        what: "another user with CAP_DAC_OVERRIDE",
        setup: "USER[,+dac_override]",
        tries: REMOVE,
        works: true,
        says: "possible",
    },
    Case {
        what: "another user with CAP_SETUID",
        setup: "USER[,+setuid]",
        tries: "setpriv --reuid=0 rm -r \"$PINS\"",
        works: true,
        says: "possible",
    },
    Case {
        what: "root in a user namespace of its own",
        setup: "exec unshare --user --map-root-user \"$@\"",
        tries: REMOVE,
        works: true,
        says: "possible",
    },
    Case {
        what: "another user with all capabilities in a user namespace of its own",
        setup: "exec setpriv --reuid=1000 --regid=1000 --clear-groups unshare --user --map-root-user \"$@\"",
        tries: "rm -r \"$PINS\" || \"$SELF\" --detach-by-id \"$HELD\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "root without capabilities, with no bpffs in sight",
        setup: UNMOUNT,
        tries: "rm -r \"$PINS\" || $KNOBGATE detach \"$NAME\" || \"$SELF\" --detach-by-id \"$HELD\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "another user, and a mount of the bpffs that is read-only",
        setup:
            "exec unshare --mount sh -c '
            mount --bind /sys/fs/bpf /sys/fs/bpf && mount -o remount,bind,ro /sys/fs/bpf && USER[]' sh \"$@\"",
        tries: "rm -r \"$PINS\" || \"$SELF\" --detach-pinned \"$PIN\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "root without capabilities that sees nothing but the pins",
        setup: "exec unshare --mount sh -c '
            mount --bind \"$PINS\" /mnt && umount -l /sys/fs/bpf && ROOT[]' sh \"$@\"",
        tries: "rm /mnt/*",
        works: true,
        says: "possible: it can remove the pins at /mnt",
    },
    Case {
        what: "root without capabilities, and something else mounted over the pins",
        setup: "exec unshare --mount sh -c 'mount -t tmpfs none /sys/fs/bpf/knobgate && ROOT[]' sh \"$@\"",
        tries: REMOVE,
        works: false,
        says: "possible",
    },
    Case {
        what: "root without capabilities that has the directory of pins open",
        setup: "exec 9</sys/fs/bpf/knobgate; exec unshare --mount sh -c 'umount -l /sys/fs/bpf && ROOT[]' sh \"$@\"",
        tries: "rm -r \"/proc/self/fd/9/$NAME\"",
        works: true,
        says: "of the bpffs open",
    },
    Case {
        what: "root without capabilities that has the program open, which a link holds",
        setup: "exec unshare --mount \"$SELF\" --hold-program \"$HELD\"",
        tries: "",
        works: false,
        says: "possible",
    },
    Case {
        what: "another user that has the directory of pins open",
        setup: "exec 9</sys/fs/bpf/knobgate; exec unshare --mount sh -c 'umount -l /sys/fs/bpf && USER[]' sh \"$@\"",
        tries: "rm -r \"/proc/self/fd/9/$NAME\"",
        works: false,
        says: "possible",
    },
];

/// Cases that need a kernel on which objects can be opened without `CAP_BPF`.
const BY_DESCRIPTOR: &[Case<'_>] = &[
    Case {
        what: "root without capabilities, and a mount of the bpffs that is read-only",
        setup:
            "exec unshare --mount sh -c '
            mount --bind /sys/fs/bpf /sys/fs/bpf && mount -o remount,bind,ro /sys/fs/bpf && ROOT[]' sh \"$@\"",
        tries: "! rm -r \"$PINS\" && \"$SELF\" --detach-pinned \"$PIN\"",
        works: true,
        says: "possible: it can open the links that are pinned at /sys/fs/bpf/knobgate",
    },
    Case {
        what: "root without capabilities that has the link open",
        setup: "exec unshare --mount \"$SELF\" --hold-link \"$PIN\"",
        tries: "",
        works: true,
        says: "the policy's program or its link open",
    },
];

/// Before Linux 5.19, __sys_bpf() (kernel/bpf/syscall.c) checks bpf_capable() for each command.
fn opens_without_capabilities() -> bool {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    profile().version >= (5, 19) || disabled.is_ok_and(|disabled| disabled == "0\n")
}

fn detaching() -> Result<(), Failed> {
    for case in CASES.iter().chain(BY_DESCRIPTOR.iter().filter(|_| opens_without_capabilities())) {
        play("t-detaching", case, "detaching")?;
    }
    Ok(())
}

fn play(name: &'static str, case: &Case<'_>, finding: &str) -> Result<(), Failed> {
    expect(&Stage::new(name, super::POLICY)?, case, finding)
}

fn expect(stage: &Stage, case: &Case<'_>, finding: &str) -> Result<(), Failed> {
    let played = stage.play(case)?;
    // It is not about to be detached, either.
    assert_eq!(played.did == "did", case.works, "{}: it {}", case.what, played.did);
    played.expect(case, finding, stage.is_opened(case, &played.cgroup)?);
    Ok(())
}

/// Only the cgroup holds the policy of `knobgate run`.
const OF_A_RUN: &[Case<'_>] = &[
    Case {
        what: "CAP_SYS_ADMIN alone",
        setup: "ROOT[,+sys_admin]",
        tries: "\"$SELF\" --detach-by-id \"$HELD\"",
        works: true,
        says: "possible",
    },
    Case {
        what: "root with all capabilities but CAP_SYS_ADMIN, with no bpffs in sight",
        setup: "exec unshare --mount sh -c '
            umount -l /sys/fs/bpf && exec setpriv --bounding-set=-sys_admin --inh-caps=-all -- \"$@\"' sh \"$@\"",
        tries: "\"$SELF\" --detach-by-id \"$HELD\"",
        works: false,
        says: "possible",
    },
];

/// The same as [`BY_DESCRIPTOR`].
const OF_A_RUN_BY_DESCRIPTOR: &[Case<'_>] = &[Case {
    what: "root without capabilities that has the program open",
    setup: "exec unshare --mount \"$SELF\" --hold-program \"$HELD\"",
    tries: "",
    works: true,
    says: "it holds the policy's program or its link open",
}];

fn of_a_run() -> Result<(), Failed> {
    for case in OF_A_RUN.iter().chain(OF_A_RUN_BY_DESCRIPTOR.iter().filter(|_| opens_without_capabilities()))
    {
        let stage = Stage::of_a_run("t-of-a-run", super::POLICY)?;
        expect(&stage, case, "detaching")?;
    }
    Ok(())
}

/// Through the mounts of the other process, which is `$STRONG` or `$WEAK`.
const BY_OTHERS: &[Case<'_>] = &[
    Case {
        what: "CAP_SYS_PTRACE, with no bpffs in sight",
        setup: "exec unshare --mount sh -c 'umount -l /sys/fs/bpf && ROOT[,+sys_ptrace]' sh \"$@\"",
        tries: "rm -r \"/proc/$STRONG/root/$PINS\"",
        works: true,
        says: "it sees the machine's processes, and can trace any of them",
    },
    Case {
        what: "root without capabilities",
        setup: UNMOUNT,
        tries: "rm -r \"/proc/$STRONG/root/$PINS\"",
        works: false,
        says: "any of them",
    },
    Case {
        what: "root without capabilities, and another one",
        setup: UNMOUNT,
        tries: "rm -r \"/proc/$WEAK/root/$PINS\"",
        works: true,
        says: "those of its own user that have no capability that it lacks",
    },
    Case {
        what: "CAP_SYS_PTRACE in a pid namespace of its own",
        setup: "exec unshare --mount --pid --fork --kill-child --mount-proc sh -c '
            umount -l /sys/fs/bpf && ROOT[,+sys_ptrace]' sh \"$@\"",
        tries: "rm -r /proc/[0-9]*/root/\"$PINS\" \"/proc/$STRONG/root/$PINS\"",
        works: false,
        says: "",
    },
    Case {
        what: "CAP_SYS_PTRACE in a pid namespace of its own, and the machine's /proc",
        setup: "exec unshare --mount --pid --fork --kill-child sh -c '
            umount -l /sys/fs/bpf && ROOT[,+sys_ptrace]' sh \"$@\"",
        tries: "rm -r \"/proc/$STRONG/root/$PINS\"",
        works: true,
        says: "/proc shows it the machine's processes, and can trace any of them",
    },
    Case {
        what: "CAP_SYS_PTRACE in a pid namespace of its own, and the machine's /proc in another place",
        setup: "exec unshare --mount --pid --fork --kill-child sh -c '
            mount --bind /proc /mnt && mount -t proc none /proc && umount -l /sys/fs/bpf && ROOT[,+sys_ptrace]' sh \"$@\"",
        tries: "rm -r \"/mnt/$STRONG/root/$PINS\"",
        works: true,
        says: "/mnt shows it the machine's processes",
    },
];

fn by_others() -> Result<(), Failed> {
    BY_OTHERS.iter().try_for_each(|case| play("t-by-others", case, "other processes"))
}
