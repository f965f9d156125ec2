//! Changing the state of a knob by other means. The tests change only state of their own namespaces. `doctor` runs in
//! these too, so it takes them for the machine's.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use knobgate_hook::Profile;
use knobgate_testing::Test;
use libtest_mimic::Failed;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

use super::{Case, Did, Stage};

pub(super) const TESTS: &[Test] =
    &[("a_process_changes_knobs_by_system_calls_exactly_if_doctor_says_so", by_calls)];

/// Tests for kernels with `/proc/sysrq-trigger`.
pub(super) const SYSRQ: &[Test] = &[("a_process_opens_the_sysrq_trigger_exactly_if_doctor_says_so", sysrq)];

/// What they require.
pub(super) fn sysrq_trigger(_: &Profile) -> Option<String> {
    let lacks = !Path::new("/proc/sysrq-trigger").exists();
    lacks.then(|| "this kernel has no /proc/sysrq-trigger".to_owned())
}

/// Tests for kernels with binfmt_misc.
pub(super) const BINFMT_MISC: &[Test] =
    &[("a_process_opens_the_files_of_binfmt_misc_exactly_if_doctor_says_so", binfmt_misc)];

/// The argument that makes this program set the host name.
pub(super) const SET_HOSTNAME: &str = "--set-hostname";
/// … that makes it enable forwarding on the interface `lo`.
pub(super) const FORWARD_BY_NETLINK: &str = "--forward-by-netlink";

pub(super) fn set_hostname(name: &OsString) -> Did {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// `net.ipv4.conf.lo.forwarding`, by rtnetlink(7).
pub(super) fn forward_by_netlink() -> Did {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const LO: u32 = 1;
    const IFLA_AF_SPEC: u16 = 26;
    const AF_INET: u16 = 2;
    const IFLA_INET_CONF: u16 = 1;
    const IPV4_DEVCONF_FORWARDING: u16 = 1;
    let attribute = |kind: u16, value: &[u8]| {
        let length = 4 + value.len() as u16;
        [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
    };
    let setting = attribute(IPV4_DEVCONF_FORWARDING, &1u32.to_ne_bytes());
    let settings = attribute(IFLA_AF_SPEC, &attribute(AF_INET, &attribute(IFLA_INET_CONF, &setting)));
    // `struct ifinfomsg`: any family, any type, the index, no flags.
    let interface = [[0; 4], LO.to_ne_bytes(), [0; 4], [0; 4]].concat();
    let body = [interface, settings].concat();
    // `struct nlmsghdr`: length, type, flags, a number and a port.
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(
        [RTM_NEWLINK.to_ne_bytes(), REQUEST_AND_ACK.to_ne_bytes(), [0; 2], [0; 2], [0; 2], [0; 2]].concat(),
    );
    message.extend(body);
    // The protocol 0 is `NETLINK_ROUTE`.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    // `struct nlmsgerr` comes after a header.
    let mut answer = [0u8; 1024];
    recv(&socket, &mut answer, RecvFlags::empty())?;
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(-error).into()),
    }
}

/// The cases, with the knob that is to change. Each first tries the knob itself, which the policy denies.
const BY_CALLS: &[(&str, Case<'_>)] = &[
    (
        HOSTNAME,
        Case {
            what: "CAP_SYS_ADMIN",
            setup: "ROOT[,+sys_admin]",
            tries: "\"$SELF\" --set-hostname other",
            works: true,
            says: "sethostname",
        },
    ),
    (
        HOSTNAME,
        Case {
            what: "root without capabilities",
            setup: "ROOT[]",
            tries: "\"$SELF\" --set-hostname other",
            works: false,
            says: "sethostname",
        },
    ),
    (
        HOSTNAME,
        Case {
            what: "CAP_SYS_ADMIN, with a host name of its own",
            setup: "exec unshare --uts sh -c 'ROOT[,+sys_admin]' sh \"$@\"",
            tries: "\"$SELF\" --set-hostname other",
            works: false,
            says: "sethostname",
        },
    ),
    (
        HOSTNAME,
        Case {
            what: "CAP_SYS_ADMIN in a user namespace of its own",
            setup: "exec unshare --user --map-root-user \"$@\"",
            tries: "\"$SELF\" --set-hostname other",
            works: false,
            says: "sethostname",
        },
    ),
    (
        FORWARDING,
        Case {
            what: "CAP_NET_ADMIN",
            setup: "ROOT[,+net_admin]",
            tries: "\"$SELF\" --forward-by-netlink",
            works: true,
            says: "netlink",
        },
    ),
    (
        FORWARDING,
        Case {
            what: "root without capabilities",
            setup: "ROOT[]",
            tries: "\"$SELF\" --forward-by-netlink",
            works: false,
            says: "netlink",
        },
    ),
    (
        FORWARDING,
        Case {
            what: "CAP_NET_ADMIN, with a network of its own",
            setup: "exec unshare --net sh -c 'ROOT[,+net_admin]' sh \"$@\"",
            tries: "\"$SELF\" --forward-by-netlink",
            works: false,
            says: "netlink",
        },
    ),
    (
        MTU,
        Case {
            what: "CAP_NET_ADMIN",
            setup: "exec unshare --mount sh -c 'mount -t sysfs none /sys && ROOT[,+net_admin]' sh \"$@\"",
            tries: "echo 1400 >/sys/class/net/lo/mtu",
            works: true,
            says: "/sys",
        },
    ),
    (
        MTU,
        Case {
            what: "root without capabilities",
            setup: "exec unshare --mount sh -c 'mount -t sysfs none /sys && ROOT[]' sh \"$@\"",
            tries: "echo 1400 >/sys/class/net/lo/mtu",
            works: false,
            says: "/sys",
        },
    ),
];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const FORWARDING: &str = "/proc/sys/net/ipv4/conf/lo/forwarding";
const MTU: &str = "/proc/sys/net/ipv6/conf/lo/mtu";

fn by_calls() -> Result<(), Failed> {
    for (knob, case) in BY_CALLS {
        let stage = Stage::new("t-other-means", super::POLICY)?;
        let before = stage.outside(&format!("cat {knob}"))?;
        if before.is_empty() && *knob == MTU {
            // A kernel without IPv6.
            continue;
        }
        let tries = format!("! (echo 1300 >{knob}) && {}", case.tries);
        let played = stage.play(&Case { tries: &tries, ..*case })?;
        let changed = stage.outside(&format!("cat {knob}"))? != before;
        played.expect(case, "other means", changed);
        assert!(!stage.is_open(&played.cgroup)?, "{}: the policy is in force", case.what);
    }
    Ok(())
}

/// Opening it for writing does nothing. Checks that the open file is on a /proc.
const OPENS: &str = "exec 3>>/proc/sysrq-trigger && [ \"$(stat -L -f -c %T /proc/self/fd/3)\" = proc ]";

const TRIGGER: &[Case<'_>] = &[
    Case {
        what: "root without capabilities",
        setup: "ROOT[]",
        tries: OPENS,
        works: true,
        says: "writable: /proc/",
    },
    Case { what: "another user", setup: "USER[]", tries: OPENS, works: false, says: "writable: /proc/" },
    Case {
        what: "another user with CAP_DAC_OVERRIDE",
        setup: "USER[,+dac_override]",
        tries: OPENS,
        works: true,
        says: "writable: /proc/",
    },
    Case {
        what: "root without capabilities, and a read-only mount of it",
        setup: "exec unshare --mount sh -c 'cd /proc && mount --bind sysrq-trigger sysrq-trigger &&
            mount -o remount,bind,ro /proc/sysrq-trigger && ROOT[]' sh \"$@\"",
        tries: OPENS,
        works: false,
        says: "writable: /proc/",
    },
    Case {
        what: "root without capabilities, and something else over it",
        setup: "exec unshare --mount sh -c 'mount --bind /dev/null /proc/sysrq-trigger && ROOT[]' sh \"$@\"",
        tries: OPENS,
        works: false,
        says: "writable: /proc/",
    },
    Case {
        what: "the same, and another /proc",
        setup: "exec unshare --mount sh -c 'mount --bind /proc /mnt &&
            mount --bind /dev/null /proc/sysrq-trigger && ROOT[]' sh \"$@\"",
        tries: "exec 3>>/mnt/sysrq-trigger",
        works: true,
        says: "writable: /mnt/sysrq-trigger",
    },
    Case {
        what: "root, in a user namespace of its own",
        setup: "exec unshare --user --map-root-user \"$@\"",
        tries: OPENS,
        works: true,
        says: "writable: /proc/",
    },
];

fn sysrq() -> Result<(), Failed> {
    for case in TRIGGER {
        let stage = Stage::new("t-sysrq", super::POLICY)?;
        let played = stage.play(case)?;
        played.expect(case, "/proc/sysrq-trigger", played.did == "did");
    }
    Ok(())
}

const MOUNTED: &str = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc";

fn binfmt_misc() -> Result<(), Failed> {
    // Opening the file for appending does nothing.
    let opens = "exec 3>>/proc/sys/fs/binfmt_misc/register";
    let mounted = |more: &str| format!("exec unshare --mount sh -c '{MOUNTED} && {more}' sh \"$@\"");
    let none = "(umount -a -t binfmt_misc || true) 2>/dev/null";
    let cases = [
        (
            "CAP_SYS_ADMIN, which mounts it",
            format!("exec unshare --mount sh -c '{none}; ROOT[,+sys_admin]' sh \"$@\""),
            format!("{MOUNTED} && {opens}"),
            true,
        ),
        ("root without capabilities", mounted("ROOT[]"), opens.to_owned(), true),
        ("another user", mounted("USER[]"), opens.to_owned(), false),
        (
            "root without capabilities, and a read-only mount",
            mounted("mount -o remount,bind,ro /proc/sys/fs/binfmt_misc && ROOT[]"),
            opens.to_owned(),
            false,
        ),
        (
            "root without capabilities, that can mount nothing",
            format!("exec unshare --mount sh -c '{none}; ROOT[]' sh \"$@\""),
            format!("{MOUNTED} && {opens}"),
            false,
        ),
    ];
    for (what, setup, tries, works) in cases {
        let stage = Stage::new("t-binfmt-misc", super::POLICY)?;
        let case = Case {
            what,
            setup: &setup,
            tries: &tries,
            works,
            says: "what executes files, in fs/binfmt_misc",
        };
        let played = stage.play(&case)?;
        played.expect(&case, "other means", played.did == "did");
    }
    Ok(())
}
