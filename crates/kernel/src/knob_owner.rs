//! How programs find the network namespace that owns a knob, and which one is the host's.

use std::fs;
use std::io;
use std::sync::LazyLock;

use knobgate_bpf::{KnobOwner, StructLayouts};
use rustix::fs::{AtFlags, CWD, StatxFlags, stat, statx};

use crate::cached_layout::cached_layout;
use crate::traced_tasks::INITIAL_PID_NAMESPACE;
use crate::tracking_error::KERNEL_BTF;

cached_layout! {
    /// Offsets in bytes.
    struct KnobOwnerLayout in "knob-owner-layout", format 1;

    head = offset "bpf_sysctl_kern.head",
    set = offset "ctl_table_header.set",
    is_seen = offset "ctl_table_set.is_seen",
    sysctls = offset "net.sysctls",
    inum = offset "net.ns.inum",
}

impl KnobOwnerLayout {
    /// For the host with this network namespace; `None` if a member is too far from the start.
    fn with_host(&self, host: u32) -> Option<KnobOwner> {
        Some(KnobOwner {
            head: self.head.try_into().ok()?,
            set: self.set.try_into().ok()?,
            is_seen: self.is_seen.try_into().ok()?,
            inum: i32::try_from(i64::from(self.inum) - i64::from(self.sysctls)).ok()?,
            host,
        })
    }
}

/// With the offsets in the running kernel, for a host with this network namespace; `None` if the kernel has no BTF, or if a
/// member is missing there.
pub(crate) fn knob_owner(host: u32) -> Option<KnobOwner> {
    LAYOUT.as_ref()?.with_host(host)
}

/// That of the running kernel.
static LAYOUT: LazyLock<Option<KnobOwnerLayout>> = LazyLock::new(|| {
    KnobOwnerLayout::cached().or_else(|| {
        let layout = KnobOwnerLayout::of(&fs::read(KERNEL_BTF).ok()?).ok()?;
        layout.store();
        Some(layout)
    })
});

/// The number of the initial network namespace, which is the host's. It is, in this order:
///
/// - that of `/proc/2/ns/net`. Process 2 of the initial pid namespace is the parent of the kernel's threads, which never leave the
///   initial namespaces; process 1 can. Another pid namespace has another process 2, and without `CAP_SYS_PTRACE` its namespaces
///   cannot be seen;
/// - a constant of the kernel, where its BTF has one: the number is then the same on every boot (`NET_NS_INIT_INO` in
///   include/uapi/linux/nsfs.h);
/// - that of this thread, if its namespace is the initial one, and nothing is mounted on `/proc/sys`.
///
/// # Errors
///
/// None of these: the kernel chooses the number when it boots, this thread has another network namespace, and it cannot see that
/// of the kernel's threads.
pub fn host_netns() -> io::Result<u32> {
    // In /proc of a pid namespace below this process's own, there is no `self`.
    let of_process_2 = if number_of("/proc/self/ns/pid")? == INITIAL_PID_NAMESPACE {
        number_of("/proc/2/ns/net")
    } else {
        Err(io::Error::other(
            "the number of the host's network namespace is that of /proc/2/ns/net in the initial pid namespace, where this process is not",
        ))
    };
    of_process_2.or_else(|error| match reserved_number() {
        Some(number) => Ok(number),
        None if is_in_initial_netns() => number_of("/proc/thread-self/ns/net"),
        None => Err(error),
    })
}

fn number_of(namespace: &str) -> io::Result<u32> {
    u32::try_from(stat(namespace)?.st_ino).map_err(io::Error::other)
}

/// Whether the network namespace of this thread is certainly the initial one: what most of `net/core` sets is one for all
/// namespaces, and only the initial one shows it (`net_core_table` in net/core/sysctl_net_core.c).
fn is_in_initial_netns() -> bool {
    // Not what somebody has mounted there. By mount ids, since systemd lets no unit with `RestrictSUIDSGID=` call openat2(2).
    let mount = |path: &str| {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
        (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
    };
    mount("/proc").is_some_and(|proc| mount("/proc/sys/net/core/netdev_budget") == Some(proc))
}

/// The number that kernels with such numbers give to the initial network namespace.
fn reserved_number() -> Option<u32> {
    let btf = fs::read(KERNEL_BTF).ok()?;
    let number = StructLayouts::read(&btf).ok()?.enumerator("NET_NS_INIT_INO").ok()?;
    // As in BTF, where it may have a sign.
    u32::try_from(number)
        .or_else(|_| i32::try_from(number).map(i32::cast_unsigned))
        .ok()
        .filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_cached_until_the_next_boot() {
        let layout = KnobOwnerLayout::example();
        let text = layout.render("a");
        assert_eq!(KnobOwnerLayout::parse("a", &text), Some(layout));
        assert_eq!(KnobOwnerLayout::parse("b", &text), None);
        assert_eq!(KnobOwnerLayout::parse("a", &text.replacen("format 1", "format 0", 1)), None);
        assert_eq!(KnobOwnerLayout::parse("a", &text[..text.len() / 2]), None);
    }

    #[test]
    fn the_namespace_may_be_before_its_set() {
        let layout = KnobOwnerLayout { sysctls: 400, inum: 24, ..KnobOwnerLayout::example() };
        assert_eq!(layout.with_host(7).map(|owner| (owner.inum, owner.host)), Some((-376, 7)));
        assert_eq!(KnobOwnerLayout { head: 1 << 15, ..layout }.with_host(7), None);
    }

    #[test]
    fn the_number_of_the_host_is_the_same_wherever_it_is() {
        let is_initial = number_of("/proc/self/ns/pid").is_ok_and(|number| number == INITIAL_PID_NAMESPACE);
        let places = [
            is_initial.then(|| number_of("/proc/2/ns/net").ok()).flatten(),
            reserved_number(),
            is_in_initial_netns().then(|| number_of("/proc/thread-self/ns/net").ok()).flatten(),
        ];
        let own = number_of("/proc/thread-self/ns/net").ok();
        if let Some(host) = places[0] {
            assert_eq!(places[2].is_some(), own == Some(host), "{places:?}");
        }
        let numbers: Vec<u32> = places.into_iter().flatten().collect();
        assert!(numbers.windows(2).all(|two| two[0] == two[1]), "{places:?}");
        assert_eq!(host_netns().ok(), numbers.first().copied(), "{places:?}");
    }
}
