//! Accesses without programs, in the kernel and in the model.

use knobgate_backend::{Backend, CgroupId};
use knobgate_hook::handler::CpuMask;
use knobgate_hook::{Knob, Knobs};
use knobgate_kernel::possible_cpus;
use knobgate_testing::{Both, Random};

use crate::access::{any, compare, is_here};
use crate::inputs::Kind;
use crate::semaphores;

/// The maximum of reported differences.
const ENOUGH: usize = 20;

/// The knobs, all of them private to a network, UTS or IPC namespace.
pub(crate) const KNOBS: &[(&str, Kind)] = &[
    ("kernel/hostname", Kind::Text),
    ("kernel/domainname", Kind::Text),
    ("kernel/msgmax", Kind::Numbers),
    ("kernel/msgmnb", Kind::Numbers),
    ("kernel/sem", Kind::Numbers),
    ("kernel/shmmax", Kind::Numbers),
    ("kernel/shmall", Kind::Numbers),
    ("kernel/shm_rmid_forced", Kind::Numbers),
    ("net/core/rps_default_mask", Kind::Mask),
    ("net/core/somaxconn", Kind::Numbers),
    ("net/ipv4/conf/default/tag", Kind::Numbers),
    ("net/ipv4/fib_multipath_hash_fields", Kind::Numbers),
    ("net/ipv4/ip_default_ttl", Kind::Numbers),
    ("net/ipv4/ip_local_reserved_ports", Kind::Ranges),
    ("net/ipv4/neigh/lo/retrans_time", Kind::Numbers),
    ("net/ipv4/route/flush", Kind::Numbers),
    ("net/ipv4/tcp_fin_timeout", Kind::Numbers),
    ("net/ipv4/tcp_keepalive_time", Kind::Numbers),
    ("net/ipv4/tcp_rmem", Kind::Numbers),
    ("net/ipv4/tcp_wmem", Kind::Numbers),
    ("net/ipv6/route/gc_min_interval_ms", Kind::Numbers),
];

/// The model's knobs.
pub(crate) fn knobs() -> Knobs {
    let mut knobs = Knobs::defaults_for(&knobgate_testing::profile());
    knobs.add("kernel/sem", semaphores::knob()).expect("there is none");
    let mask = CpuMask::new(possible_cpus().expect("a list of CPUs")).written_in_place();
    *knobs.get_mut("net/core/rps_default_mask").expect("a default knob") = Knob::new(mask);
    knobs
}

/// Performs this many accesses to each knob, and prints the differences.
pub(crate) fn run(seed: u64, accesses: u64) -> Result<String, String> {
    let mut both = Both::new(knobs());
    let mut random = Random(seed);
    let mut differences = 0;
    for &(name, kind) in KNOBS {
        if !is_here(name) {
            println!("this kernel has no {name}");
            continue;
        }
        both.align(name);
        for _ in 0..accesses {
            let access = any(&mut random, kind);
            let before = both.kernel.value(name).expect("the kernel does not fail").unwrap_or_default();
            if let Err(difference) = compare(&mut both, CgroupId::SCRATCH, name, &access) {
                let shown = format!("{name}: {access:?}\n  of {}", before.escape_ascii());
                println!("{}\n{difference}", &shown[..shown.len().min(600)]);
                differences += 1;
                both.align(name);
            }
            if differences == ENOUGH {
                return Err(format!("{ENOUGH} differences"));
            }
        }
    }
    let made = format!("{} knobs, {accesses} accesses to each, {differences} differences", KNOBS.len());
    if differences == 0 { Ok(made) } else { Err(made) }
}
