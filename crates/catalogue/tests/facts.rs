//! What the catalogue says about knobs that everybody knows, and whether its columns agree with each other.

use knobgate_catalogue::{Kind, Knob, Normalisation, OneWay, Scope, Variant, Width, all, find, kernels};

fn knob(name: &str) -> &'static Knob {
    find(name.as_bytes()).unwrap_or_else(|| panic!("{name} is not in the catalogue"))
}

#[test]
fn a_literal_wins_over_a_placeholder() {
    let cases = [
        ("net/ipv4/conf/all/forwarding", "net/ipv4/conf/all/forwarding"),
        ("net/ipv4/conf/eth0/forwarding", "net/ipv4/conf/<interface>/forwarding"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/<interface>/rp_filter"),
        ("net/ipv4/conf/all/rp_filter", "net/ipv4/conf/<interface>/rp_filter"),
        ("net/ipv6/neigh/default/gc_thresh1", "net/ipv6/neigh/default/gc_thresh1"),
        ("net/netfilter/nf_log/10", "net/netfilter/nf_log/<number>"),
        ("kernel/sched_domain/cpu0/domain1/name", "kernel/sched_domain/<cpu>/<domain>/name"),
    ];
    for (name, pattern) in cases {
        assert_eq!(knob(name).pattern(), pattern);
    }
    for name in
        ["net/ipv4/conf/rp_filter", "net/ipv4/conf/eth0/100/rp_filter", "net.ipv4.ip_forward", "kernel"]
    {
        assert!(find(name.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn every_entry_is_found_by_its_own_pattern() {
    for knob in all() {
        assert_eq!(find(knob.pattern().as_bytes()).map(Knob::pattern), Some(knob.pattern()));
        assert_eq!(knob.is_literal(), !knob.pattern().contains(['<', '>']));
    }
}

#[test]
fn whose_a_knob_is() {
    let cases = [
        ("kernel/core_pattern", Scope::Host),
        ("kernel/modules_disabled", Scope::Host),
        ("vm/swappiness", Scope::Host),
        ("net/core/rmem_max", Scope::Host),
        // Only the initial network namespace has these, and every new interface takes them over.
        ("net/ipv4/neigh/default/locktime", Scope::Host),
        ("net/ipv4/tcp_mem", Scope::Host),
        ("net/netfilter/nf_conntrack_buckets", Scope::Host),
        ("net/core/somaxconn", Scope::Network),
        ("net/ipv4/tcp_rmem", Scope::Network),
        ("net/ipv4/ip_forward", Scope::Network),
        ("net/ipv4/conf/eth0/rp_filter", Scope::Network),
        ("net/ipv6/neigh/eth0/locktime", Scope::Network),
        ("net/unix/max_dgram_qlen", Scope::Network),
        ("kernel/sem", Scope::Ipc),
        ("kernel/shmmax", Scope::Ipc),
        ("fs/mqueue/msg_max", Scope::Ipc),
        ("kernel/hostname", Scope::Uts),
        ("user/max_user_namespaces", Scope::User),
        ("kernel/ns_last_pid", Scope::Pid),
        ("kernel/pid_max", Scope::Pid),
    ];
    for (name, scope) in cases {
        assert_eq!(knob(name).newest().scope(), scope, "{name}");
    }
    // Linux 6.14 gave each pid namespace its own.
    let oldest = knob("kernel/pid_max").variants().last().unwrap();
    assert_eq!((oldest.scope(), oldest.kernels().contains("5.10")), (Scope::Host, true));
}

#[test]
fn what_a_handler_takes() {
    type Case = (&'static str, Kind, Option<u32>, Option<(i128, i128)>);
    let cases: [Case; 11] = [
        ("vm/swappiness", Kind::Int, Some(1), Some((0, 200))),
        ("net/ipv4/tcp_wmem", Kind::Int, Some(3), Some((1, i32::MAX.into()))),
        ("net/ipv4/tcp_mem", Kind::UnsignedLong, Some(3), Some((0, u64::MAX.into()))),
        ("net/ipv4/ip_local_port_range", Kind::Int, Some(2), Some((1, 65535))),
        ("net/ipv4/tcp_sack", Kind::U8, Some(1), Some((0, 255))),
        ("net/ipv4/ip_local_reserved_ports", Kind::RangeList, None, None),
        ("kernel/sem", Kind::Int, Some(4), Some((i32::MIN.into(), i32::MAX.into()))),
        ("kernel/core_pattern", Kind::Text, None, None),
        ("kernel/watchdog_cpumask", Kind::RangeList, None, None),
        // One for each zone of the memory.
        ("vm/lowmem_reserve_ratio", Kind::Int, None, Some((i32::MIN.into(), i32::MAX.into()))),
        // The bound is the value of another knob.
        ("net/ipv4/ipfrag_low_thresh", Kind::UnsignedLong, Some(1), None),
    ];
    for (name, kind, elements, bounds) in cases {
        let newest = knob(name).newest();
        assert_eq!((newest.kind(), newest.elements(), newest.bounds()), (kind, elements, bounds), "{name}");
    }
}

#[test]
fn who_may_write() {
    let modes = |name: &str| {
        let mode = knob(name).newest().mode();
        (mode.is_readable(), mode.is_writable())
    };
    assert_eq!(modes("kernel/osrelease"), (true, false));
    assert_eq!(modes("vm/drop_caches"), (false, true));
    assert_eq!(modes("kernel/hostname"), (true, true));
    // The table says that nobody may write these; a function of the table lets processes with CAP_CHECKPOINT_RESTORE.
    assert_eq!(modes("kernel/sem_next_id"), (true, true));
}

#[test]
fn effects() {
    for name in ["vm/drop_caches", "vm/compact_memory", "net/ipv4/route/flush", "kernel/ns_last_pid"] {
        assert!(knob(name).acts(), "{name}");
    }
    let one_way = [
        ("kernel/modules_disabled", Some(OneWay::Up)),
        ("kernel/kexec_load_limit_panic", Some(OneWay::Down)),
        ("kernel/yama/ptrace_scope", Some(OneWay::Final)),
        ("kernel/unprivileged_bpf_disabled", Some(OneWay::Final)),
        ("kernel/dmesg_restrict", None),
    ];
    for (name, way) in one_way {
        assert_eq!(knob(name).one_way(), way, "{name}");
    }
    assert_eq!(knob("net/nf_conntrack_max").alias_of(), Some("net/netfilter/nf_conntrack_max"));
    assert!(
        knob("net/ipv6/conf/all/disable_ipv6").reaches().contains(&"net/ipv6/conf/<interface>/disable_ipv6")
    );
    assert!(
        knob("net/ipv4/conf/default/rp_filter").reaches().contains(&"net/ipv4/conf/<interface>/rp_filter")
    );
    assert_eq!(
        knob("net/ipv4/neigh/default/retrans_time").reaches(),
        [
            "net/ipv4/neigh/<interface>/retrans_time",
            "net/ipv4/neigh/<interface>/retrans_time_ms",
            "net/ipv4/neigh/default/retrans_time_ms",
        ]
    );
    assert!(knob("net/ipv6/conf/eth0/stable_secret").is_secret());
}

#[test]
fn every_kernel_has_knobs() {
    for kernel in kernels() {
        let count = all().iter().filter(|knob| knob.kernels().contains(kernel.series())).count();
        assert!(count > 800, "{}: {count}", kernel.release());
    }
}

/// The width that follows from a handler, if it is not 32 bits.
fn width(variant: &Variant) -> Option<Width> {
    let keeps_more = variant.bounds().is_none_or(|(_, greatest)| greatest > u32::MAX.into());
    match variant.handler() {
        handler if handler.ends_with("proc_dointvec_userhz_jiffies") => Some(Width::UserHz),
        "proc_dodebug" => Some(Width::Unsigned32),
        "proc_doulongvec_ms_jiffies_minmax" => Some(Width::Unsigned31),
        // It keeps bits that it knows.
        "proc_taint" => None,
        // It takes nothing but 0.
        "proc_dohung_task_detect_count" => None,
        _ if variant.kind() == Kind::UnsignedLong && keeps_more => Some(Width::Unsigned64),
        _ => None,
    }
}

#[test]
fn widths_agree_with_handlers() {
    // It was a number once, and is a text since Linux 6.9, which keeps every number.
    let was_number = "kernel/ftrace_dump_on_oops";
    let writable = all().iter().filter(|knob| knob.newest().mode().is_writable());
    for knob in writable.filter(|knob| knob.pattern() != was_number) {
        let writable = knob.variants().iter().filter(|variant| variant.mode().is_writable());
        let mut widths: Vec<_> = writable.filter_map(width).collect();
        widths.dedup();
        let expected = match *widths {
            [] => Width::Bits32,
            [width] => width,
            _ => panic!("{}: {widths:?}", knob.pattern()),
        };
        assert_eq!(knob.width(), expected, "{}: {:?}", knob.pattern(), knob.newest().handler());
    }
}

#[test]
fn what_is_stored_agrees_with_handlers() {
    for knob in all().iter().filter(|knob| knob.newest().mode().is_writable()) {
        let kinds: Vec<_> = knob.variants().iter().map(Variant::kind).collect();
        let every = |kind| kinds.iter().all(|other| *other == kind);
        let stores = knob.stores();
        let name = knob.pattern();
        assert_eq!(every(Kind::CpuMask), stores == Some(Normalisation::CpuMask), "{name}");
        if every(Kind::Text) {
            assert!(
                matches!(stores, Some(Normalisation::Text | Normalisation::WordSet)),
                "{name}: {stores:?}"
            );
        }
        if every(Kind::Bool) {
            assert_eq!(stores, Some(Normalisation::Booleans), "{name}");
        }
        if knob.variants().iter().all(|variant| variant.handler().contains("dointvec_ms_jiffies")) {
            assert_eq!(stores, Some(Normalisation::Milliseconds), "{name}");
        }
    }
}
