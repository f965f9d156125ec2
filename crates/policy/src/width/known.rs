//! The knobs of Linux 5.10 to 7.3 whose width is not the usual one, and those that change numbers inside their width.
//! The list was made from the kernel's tables. The tests of `knobgate-compiler` check it on each kernel, with every
//! numeric knob that can be written in a virtual machine.

use super::{Normalisation, Width};

/// Knobs whose width is not [`Width::Bits32`].
pub(super) const WIDTHS: &[(Width, &[&str])] = &[
    // `proc_doulongvec_minmax`, and handlers that call it with an unsigned long. Those that take no more than 32 bits
    // (`user.*`, `fs.inotify.*`) are not listed.
    (
        Width::Unsigned64,
        &[
            "fs.aio-max-nr",
            "fs.epoll.max_user_watches",
            "fs.file-max",
            "fs.pipe-user-pages-hard",
            "fs.pipe-user-pages-soft",
            "kernel.acpi_video_flags",
            // A text since Linux 6.9, which keeps every number.
            "kernel.ftrace_dump_on_oops",
            "kernel.hung_task_check_interval_secs",
            "kernel.hung_task_timeout_secs",
            "kernel.panic_print",
            "kernel.sched_domain.*.*.{max_interval,max_newidle_lb_cost,min_interval}",
            "kernel.shmall",
            "kernel.shmmax",
            "net.core.bpf_jit_limit",
            "net.decnet.decnet_mem",
            "net.ieee802154.6lowpan.6lowpanfrag_high_thresh",
            "net.ieee802154.6lowpan.6lowpanfrag_low_thresh",
            "net.ipv4.ipfrag_high_thresh",
            "net.ipv4.ipfrag_low_thresh",
            "net.ipv4.tcp_comp_sack_delay_ns",
            "net.ipv4.tcp_comp_sack_slack_ns",
            "net.ipv4.tcp_mem",
            "net.ipv4.udp_mem",
            "net.ipv6.ioam6_id_wide",
            "net.ipv6.ip6frag_high_thresh",
            "net.ipv6.ip6frag_low_thresh",
            "net.netfilter.nf_conntrack_frag6_high_thresh",
            "net.netfilter.nf_conntrack_frag6_low_thresh",
            "net.rds.ib.max_recv_allocation",
            "net.sctp.sctp_mem",
            "vm.admin_reserve_kbytes",
            "vm.dirty_background_bytes",
            "vm.dirty_bytes",
            "vm.mmap_min_addr",
            "vm.nr_hugepages",
            "vm.nr_hugepages_mempolicy",
            "vm.nr_overcommit_hugepages",
            "vm.overcommit_kbytes",
            "vm.user_reserve_kbytes",
        ],
    ),
    // `proc_dointvec_userhz_jiffies`, net/core/neighbour.c. IPv6's `retrans_time` counts jiffies and never wraps.
    (
        Width::UserHz,
        &[
            "net.ipv4.neigh.*.{anycast_delay,locktime,proxy_delay,retrans_time}",
            "net.ipv6.neigh.*.{anycast_delay,locktime,proxy_delay}",
        ],
    ),
    // `proc_dodebug`, net/sunrpc/sysctl.c: a negative number is stored as its low 32 bits, without a sign.
    (Width::Unsigned32, &["sunrpc.{nfs,nfsd,nlm,rpc}_debug"]),
    // `proc_doulongvec_ms_jiffies_minmax`: from Linux 7.2 on, more milliseconds than an int holds are stored as "for ever".
    (
        Width::Unsigned31,
        &[
            "dev.parport.**.timeslice",
            "net.rds.{tcp.,}reconnect_{max,min}_delay_ms",
            "net.rxrpc.{idle_conn_expiry,idle_conn_fast_expiry,req_ack_delay}",
        ],
    ),
];

/// Knobs that change numbers inside their width.
pub(super) const NORMALISATIONS: &[(Normalisation, &[&str])] = &[
    // `proc_dointvec_ms_jiffies` and `proc_dointvec_ms_jiffies_minmax`
    (
        Normalisation::Milliseconds,
        &[
            "net.core.txq_reselection_ms",
            "net.ipv4.icmp_ratelimit",
            "net.ipv4.tcp_invalid_ratelimit",
            "net.ipv6.icmp.ratelimit",
            "net.ipv{4,6}.neigh.*.{base_reachable_time_ms,interval_probe_time_ms,retrans_time_ms}",
            "net.ipv{4,6}.route.gc_min_interval_ms",
            "net.ipv6.conf.*.mldv{1,2}_unsolicited_report_interval",
        ],
    ),
    (
        Normalisation::UserTicks,
        &[
            "net.ipv4.neigh.*.{anycast_delay,locktime,proxy_delay,retrans_time}",
            "net.ipv6.neigh.*.{anycast_delay,locktime,proxy_delay}",
        ],
    ),
    // fs/pipe.c, net/core/sysctl_net_core.c
    (Normalisation::PowersOfTwo { least: 4096 }, &["fs.pipe-max-size"]),
    (Normalisation::PowersOfTwo { least: 0 }, &["net.core.rps_sock_flow_entries"]),
    // net/bridge/br_netfilter_hooks.c, and `proc_dobool`
    (
        Normalisation::Booleans,
        &[
            "dev.tty.legacy_tiocsti",
            "fs.nfs.nsm_use_hostnames",
            "kernel.syscall_user_dispatch",
            "net.bridge.bridge-nf-*",
            "vm.hugetlb_optimize_vmemmap",
        ],
    ),
    // net/core/sysctl_net_core.c, kernel/watchdog.c
    (
        Normalisation::CpuMask,
        &["kernel.watchdog_cpumask", "net.core.flow_limit_cpu_bitmap", "net.core.rps_default_mask"],
    ),
    // `proc_dostring` and what calls it, and handlers of names
    (
        Normalisation::Text,
        &[
            "fs.ocfs2.nm.hb_ctl_path",
            "kernel.{core_pattern,hotplug,modprobe,poweroff_cmd}",
            "kernel.{domainname,hostname}",
            "kernel.printk_devkmsg",
            "net.core.default_qdisc",
            "net.ipv4.{tcp_congestion_control,tcp_fastopen_key}",
            "net.ipv6.conf.*.stable_secret",
            "net.mptcp.{path_manager,scheduler}",
            "net.netfilter.nf_log.*",
            "net.sctp.cookie_hmac_alg",
            "vm.numa_zonelist_order",
        ],
    ),
    // kernel/seccomp.c, lib/sys_info.c, net/ipv4/tcp_cong.c
    (
        Normalisation::WordSet,
        &["kernel.seccomp.actions_logged", "kernel.*_sys_info", "net.ipv4.tcp_allowed_congestion_control"],
    ),
    // `proc_taint` and `proc_cap_handler`
    (Normalisation::Own("it sets those written bits that it knows, and clears none"), &["kernel.tainted"]),
    (
        Normalisation::Own("it keeps only those written bits that are already set"),
        &["kernel.usermodehelper.bset", "kernel.usermodehelper.inheritable"],
    ),
    // kernel/sched/rt.c
    (
        Normalisation::Own("it stores 100 for 0 and for every negative number"),
        &["kernel.sched_rr_timeslice_ms"],
    ),
    // net/netfilter/nf_conntrack_core.c
    (Normalisation::Own("it rounds up to a multiple of 512"), &["net.netfilter.nf_conntrack_buckets"]),
    // net/ipv4/sysctl_net_ipv4.c
    (
        Normalisation::Own("it stores \"1 0\" if the first number is the larger one"),
        &["net.ipv4.ping_group_range"],
    ),
    // ipc/ipc_sysctl.c, drivers/char/random.c
    (
        Normalisation::Own("it accepts every number, and stores none"),
        &["kernel.auto_msgmni", "kernel.random.{urandom_min_reseed_secs,write_wakeup_threshold}"],
    ),
    // mm/page_alloc.c
    (Normalisation::Own("it stores 0 for every negative number"), &["vm.lowmem_reserve_ratio"]),
    // mm/hugetlb.c
    (
        Normalisation::AtMost("it stores how many pages could be allocated"),
        &["vm.nr_hugepages", "vm.nr_hugepages_mempolicy"],
    ),
];
