//! The knobs of the test: private to a network, UTS or IPC namespace, and of every kind of handler.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A knob with values that it takes.
#[derive(Debug)]
pub(crate) struct TestKnob {
    /// Its name, with slashes.
    pub name: &'static str,
    /// Values that it can be given beforehand.
    pub values: &'static [&'static str],
    /// The kernel starts a write of it again, programs included, while others are changing the network's interfaces
    /// (`restart_syscall` in addrconf_sysctl_stable_secret, net/ipv6/addrconf.c).
    pub restarts: bool,
}

const fn knob(name: &'static str, values: &'static [&'static str]) -> TestKnob {
    TestKnob { name, values, restarts: false }
}

/// A set of so many ports that it fills this many bytes, of which it cannot be shortened to ranges.
const fn ports<const BYTES: usize>() -> [u8; BYTES] {
    let mut text = [b','; BYTES];
    let (mut at, mut port) = (0, 10_001);
    while at < BYTES {
        let (mut digit, mut rest) = (at + 5, port);
        while digit > at {
            digit -= 1;
            text[digit] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        at += 6;
        port += 2;
    }
    text
}

const fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!(),
    }
}

/// As many ports as a cluster has reserved, and as many as the hook shows.
pub(crate) const LONG_SETS: [&str; 2] = [text(&ports::<{ 65 * 6 - 1 }>()), text(&ports::<{ 682 * 6 - 1 }>())];

/// All of them. Those that the kernel does not have are left out when the test starts, and it says so.
pub(crate) const KNOBS: &[TestKnob] = &[
    // Strings.
    knob("kernel/domainname", &["(none)", "a", "example.org", "0x10", "7 8", "|/bin/core %p"]),
    knob(
        "kernel/hostname",
        &["h", "web-1.example.org", "123456789012345678901234567890123456789012345678901234567890123"],
    ),
    knob("net/ipv4/tcp_congestion_control", &["reno"]),
    // Vectors of int, with and without bounds, negative ones too.
    knob("net/core/somaxconn", &["4096", "128", "65535", "1"]),
    knob("net/ipv4/conf/all/rp_filter", &["0", "1", "2"]),
    knob("net/ipv4/conf/default/rp_filter", &["0", "1", "2"]),
    knob("net/ipv4/conf/default/tag", &["0", "-5", "2147483647", "-2147483648"]),
    knob("net/ipv4/tcp_rmem", &["4096 131072 6291456", "4096 4097 4098", "5000 5000 5000"]),
    knob("net/ipv4/tcp_wmem", &["4096 16384 4194304"]),
    knob("kernel/msgmax", &["8192", "0"]),
    knob("kernel/sem", &["32000 1024000000 500 32000", "1 2 3 4"]),
    // Bytes, booleans, unsigned long, pairs with rules of their own.
    knob("net/ipv4/ip_default_ttl", &["64", "1", "255"]),
    knob("kernel/shm_rmid_forced", &["0", "1"]),
    knob("kernel/shmmax", &["18446744073692774399", "9223372036854775808", "4096", "0"]),
    knob("kernel/shmall", &["18446744073692774399", "10"]),
    knob("net/ipv4/ip_local_port_range", &["32768 60999", "1024 65535"]),
    knob("net/ipv4/ping_group_range", &["1 0", "0 2147483647"]),
    // Times, which wrap around or are cut.
    knob("net/ipv4/icmp_ratelimit", &["1000", "0", "2147483640"]),
    knob("net/ipv4/neigh/lo/locktime", &["100", "0", "4"]),
    knob("net/ipv4/neigh/lo/retrans_time_ms", &["1000", "4"]),
    knob("net/ipv4/ipfrag_high_thresh", &["4194304", "9223372036854775807"]),
    // Values of any length.
    knob("net/ipv4/ip_local_reserved_ports", &["8080,9000-9100", LONG_SETS[0], LONG_SETS[1]]),
    // Cannot be read: written only, and failing on read until it was written.
    knob("net/ipv4/route/flush", &[]),
    TestKnob { name: "net/ipv6/conf/default/stable_secret", values: &[], restarts: true },
];

/// Patterns over them.
pub(crate) const PATTERNS: &[&str] = &[
    "**",
    "kernel.**",
    "net.**",
    "kernel.*",
    "kernel.*name",
    "kernel.{domainname,hostname}",
    "kernel.sh*",
    "kernel.shm[a-m]*",
    "kernel.msgmax",
    "kernel.sem",
    "net.core.*",
    "net.core.somaxconn",
    "net.ipv4.*",
    "net.ipv4.tcp_?mem",
    "net.ipv4.tcp_{rmem,wmem}",
    "net.ipv4.ip_*",
    "net.ipv4.conf.*.rp_filter",
    "net.ipv4.conf.all.*",
    "net/ipv4/conf/default/tag",
    "net.ipv4.{ping_group_range,ip_local_port_range}",
    "net.ipv4.route.flush",
    "net.ipv4.neigh.**",
    "net.ipv4.neigh.*.retrans*",
    "**.locktime",
    "net.ipv4.i{cmp,p}*",
    "**.stable_secret",
    "**.[!a-k]*",
    "kernel/domainname",
];

/// What a knob holds, by one read: a second one returns nothing of a list of numbers, and `fs::read` begins with 32 bytes.
pub(crate) fn value_of(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = File::open(path)?.read(&mut value)?;
    value.truncate(length);
    Ok(value)
}
