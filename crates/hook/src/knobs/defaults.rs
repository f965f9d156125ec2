//! Knobs with every kind of handler, and the names, bounds and default values of the kernel's.

use super::{Knob, Knobs};
use crate::handler::custom::Call;
use crate::handler::{Bitmap, CpuMask, Custom, HandlerEnv, Hz, IntVec, Text, U8, Uint, UlongVec, Unit};
use crate::{Errno, Profile};

impl Knobs {
    /// Some knobs of Linux 6.18, with every kind of handler. Most of them are private to a namespace.
    pub fn defaults() -> Self {
        Self::defaults_for(&Profile::default())
    }

    /// The same knobs on the kernel of this profile.
    pub fn defaults_for(profile: &Profile) -> Self {
        let mut knobs = Self::new();
        for (name, knob) in default_knobs(profile) {
            let added = knobs.add(name, knob);
            debug_assert_eq!(added, Ok(()));
        }
        knobs
    }
}

fn default_knobs(profile: &Profile) -> Vec<(&'static str, Knob)> {
    let seconds = Unit::Seconds(Hz::H250);
    vec![
        // kernel/utsname_sysctl.c
        ("kernel/ostype", Knob::new(Text::new("Linux", 65)).mode(0o444)),
        ("kernel/hostname", Knob::new(Text::new("(none)", 65))),
        ("kernel/domainname", Knob::new(Text::new("(none)", 65))),
        // fs/coredump.c
        ("kernel/core_pattern", Knob::new(Text::new("core", 128))),
        // kernel/sysctl.c, mm/
        ("kernel/printk", Knob::new(IntVec::new([7, 4, 1, 7]))),
        ("vm/swappiness", Knob::new(IntVec::new([60]).between(0, 200))),
        ("vm/max_map_count", Knob::new(IntVec::new([65530]).between(0, i32::MAX))),
        // ipc/ipc_sysctl.c
        ("kernel/msgmax", Knob::new(IntVec::new([8192]).between(0, i32::MAX))),
        ("kernel/msgmnb", Knob::new(IntVec::new([16384]).between(0, i32::MAX))),
        ("kernel/shmmax", Knob::new(UlongVec::new([0xffff_ffff_feff_ffff]))),
        ("kernel/shmall", Knob::new(UlongVec::new([0xffff_ffff_feff_ffff]))),
        ("kernel/shm_rmid_forced", Knob::new(IntVec::new([0]).between(0, 1))),
        // net/core/sysctl_net_core.c
        ("net/core/somaxconn", Knob::new(IntVec::new([4096]).between(0, i32::MAX))),
        ("net/core/flow_limit_cpu_bitmap", Knob::new(CpuMask::new(2))),
        ("net/core/rps_default_mask", Knob::new(CpuMask::new(2).written_in_place())),
        // net/ipv4/sysctl_net_ipv4.c, net/ipv4/devinet.c, net/ipv4/route.c
        ("net/ipv4/ip_default_ttl", Knob::new(U8::new(64).between(1, 255))),
        (
            "net/ipv4/tcp_rmem",
            Knob::new(IntVec::new([4096, 131_072, 33_554_432]).between(profile.tcp_rmem_min, i32::MAX)),
        ),
        ("net/ipv4/tcp_wmem", Knob::new(IntVec::new([4096, 16384, 4_194_304]).between(1, i32::MAX))),
        ("net/ipv4/tcp_keepalive_time", Knob::new(IntVec::new([1_800_000]).in_unit(seconds))),
        ("net/ipv4/tcp_fin_timeout", Knob::new(IntVec::new([15_000]).in_unit(seconds))),
        ("net/ipv4/ip_local_reserved_ports", Knob::new(Bitmap::new(65536))),
        ("net/ipv4/conf/default/tag", Knob::new(IntVec::new([0]))),
        ("net/ipv4/fib_multipath_hash_fields", Knob::new(Uint::new(7).between(1, 0xFFF))),
        ("net/ipv4/neigh/lo/retrans_time", Knob::new(IntVec::new([250]).in_unit(Unit::UserTicks(Hz::H250)))),
        (
            "net/ipv6/route/gc_min_interval_ms",
            Knob::new(IntVec::new([125]).in_unit(Unit::Milliseconds(Hz::H250))),
        ),
        (
            "net/ipv4/route/flush",
            // Any write flushes the cache, which does not exist here; the position does not move.
            Knob::new(Custom(|call: Call<'_>, _: &mut i64, _: &HandlerEnv<'_>| match call {
                Call::Write(written) => Ok(written.bytes.len()),
                Call::Read { .. } => Err(Errno::EINVAL),
            }))
            .mode(0o200),
        ),
    ]
}
