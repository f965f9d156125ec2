//! Accesses without programs, in the kernel and in the model.

use std::process::ExitCode;

use knobgate_hook::handler::CpuMask;
use knobgate_hook::{Hook, Knob, Knobs, Process};
use knobgate_testing::Random;

use crate::access::{any, in_kernel, in_model, path, start_alike, value_in_kernel, value_in_model};
use crate::inputs::Kind;
use crate::random_programs::processors;
use crate::semaphores;

/// The argument that makes the test binary run this.
pub(crate) const ARGUMENT: &str = "--without-programs";

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
    let mask = CpuMask::new(processors() as usize).written_in_place();
    *knobs.get_mut("net/core/rps_default_mask").expect("a default knob") = Knob::new(mask);
    knobs
}

/// Performs this many accesses to each knob, and prints the differences.
pub(crate) fn run(seed: u64, accesses: u64) -> ExitCode {
    let mut hook = Hook::new(knobgate_testing::profile(), knobs());
    let process = hook.spawn(hook.root(), Process::default()).expect("the root is there");
    let mut random = Random(seed);
    let mut differences = 0;
    for &(name, kind) in KNOBS {
        if std::fs::metadata(path(name)).is_err() {
            println!("this kernel has no {name}");
            continue;
        }
        start_alike(&mut hook, process, name);
        for _ in 0..accesses {
            let access = any(&mut random, kind);
            let before = value_in_kernel(name);
            let real = (in_kernel(name, &access), value_in_kernel(name));
            let returned = in_model(&mut hook, process, name, &access).expect("no program runs");
            let model = (returned, value_in_model(&mut hook, process, name));
            if real != model {
                let shown = format!("{name}: {access:?}\n  of {}", before.escape_ascii());
                println!("{}\n  kernel {real:?}\n  model  {model:?}", &shown[..shown.len().min(600)]);
                differences += 1;
                start_alike(&mut hook, process, name);
            }
            if differences == ENOUGH {
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} knobs, {accesses} accesses to each, {differences} differences", KNOBS.len());
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
