//! Knobs that reach beyond the workload.
//!
//! None of the ones in [`ESCAPES`] is ever allowed by learning. The others are allowed, with a comment. A test compares both lists
//! with examples/usermode-helpers.knob.

use std::sync::LazyLock;

use knobgate_catalogue::Scope;
use knobgate_events::Namespace;
use knobgate_policy::{KnobName, KnobPattern};

/// Knobs with which a process can get out of its container, or that make it easier, each with the reason and its source.
const ESCAPES: [(&str, &str); 10] = [
    (
        "kernel.core_pattern",
        "the kernel runs the program after a `|` as root, outside of all containers (fs/coredump.c)",
    ),
    (
        "kernel.core_pipe_limit",
        "while the kernel waits for the program that takes core dumps, that can find files of the container (fs/coredump.c)",
    ),
    (
        "{fs.suid_dumpable,kernel.core_uses_pid}",
        "it changes where privileged programs leave their memory when they crash (fs/coredump.c, fs/exec.c)",
    ),
    (
        "kernel.modprobe",
        "the kernel runs this program as root, outside of all containers (kernel/module/kmod.c)",
    ),
    (
        "kernel.hotplug",
        "the kernel runs this program as root, outside of all containers (lib/kobject_uevent.c)",
    ),
    (
        "kernel.firmware_config.*",
        "it makes the kernel run the program in kernel.hotplug (drivers/base/firmware_loader/fallback.c)",
    ),
    (
        "kernel.poweroff_cmd",
        "the kernel runs this command as root, outside of all containers (kernel/reboot.c)",
    ),
    (
        "fs.ocfs2.nm.hb_ctl_path",
        "the kernel runs this program as root, outside of all containers (fs/ocfs2/stackglue.c)",
    ),
    (
        "kernel.usermodehelper.*",
        "it has the capabilities of all programs that the kernel runs (kernel/umh.c)",
    ),
    ("vm.mmap_min_addr", "a low address makes bugs of the kernel exploitable (security/min_addr.c)"),
];

/// Knobs that act on the whole machine in a way that people should know of.
const WARNINGS: [(&str, &str); 8] = [
    (
        "kernel.sysrq",
        "it enables keys that kill, unmount and reboot, on the whole machine (drivers/tty/sysrq.c)",
    ),
    (
        "{kernel.{*panic*,ftrace_dump_on_oops,oops_limit,warn_limit},vm.panic_on_oom}",
        "it decides when the whole machine stops (kernel/panic.c, mm/oom_kill.c)",
    ),
    (
        "kernel.{cad_pid,ctrl-alt-del}",
        "it decides whether Ctrl-Alt-Del reboots the whole machine at once, and who gets a signal (kernel/reboot.c)",
    ),
    (
        "kernel.{kptr_restrict,dmesg_restrict,io_uring_disabled,kexec_load_disabled,kexec_load_limit_*,modules_disabled,\
         perf_event_paranoid,randomize_va_space,sysctl_writes_strict,unprivileged_bpf_disabled,unprivileged_userns_clone,\
         yama.ptrace_scope}",
        "it is a protection of the whole machine (Documentation/admin-guide/sysctl/kernel.rst)",
    ),
    (
        "fs.protected_{fifos,hardlinks,regular,symlinks}",
        "it is a protection of the whole machine (Documentation/admin-guide/sysctl/fs.rst)",
    ),
    ("net.core.bpf_jit_*", "it is a protection of the whole machine (net/core/sysctl_net_core.c)"),
    (
        "{dev.tty.ldisc_autoload,vm.unprivileged_userfaultfd}",
        "it is a protection of the whole machine (drivers/tty/tty_ldisc.c, mm/userfaultfd.c)",
    ),
    ("kernel.pid_max", "before Linux 6.14, no namespace has its own: it is the whole machine's"),
];

/// What matches this, and is neither in the catalogue nor of a [`Namespace`], acts on the whole machine.
const OF_MACHINE: &str = "{abi,crypto,debug,dev,fs,kernel,vm}.**";
const NOT_NAMESPACED: &str = "no namespace has its own: it is the whole machine's";

/// Whether a write of a knob reaches beyond the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It does not, as far as is known.
    Workload,
    /// It acts on the whole machine; this is how.
    Machine(&'static str),
    /// It is a way out of a container; this is how.
    Escape(&'static str),
}

type Patterns = Vec<(KnobPattern, &'static str)>;

static PARSED: LazyLock<(Patterns, Patterns, KnobPattern)> = LazyLock::new(|| {
    let parse = |text: &str| KnobPattern::parse(text).expect("a constant");
    let all =
        |list: &[(&'static str, &'static str)]| list.iter().map(|(text, why)| (parse(text), *why)).collect();
    (all(&ESCAPES), all(&WARNINGS), parse(OF_MACHINE))
});

/// Whether a write of the knob reaches beyond the workload.
pub(crate) fn reach(name: &KnobName) -> Reach {
    let (escapes, warnings, of_machine) = &*PARSED;
    let find = |patterns: &Patterns| {
        patterns.iter().find(|(pattern, _)| pattern.matches(name.as_bytes())).map(|(_, why)| *why)
    };
    match (find(escapes), find(warnings)) {
        (Some(why), _) => Reach::Escape(why),
        (None, Some(why)) => Reach::Machine(why),
        (None, None) if is_of_machine(name, of_machine) => Reach::Machine(NOT_NAMESPACED),
        (None, None) => Reach::Workload,
    }
}

/// Whether there is one of this knob for the whole machine.
fn is_of_machine(name: &KnobName, unless_known: &KnobPattern) -> bool {
    match knobgate_catalogue::find(name.as_bytes()) {
        // A workload seldom has a user namespace of its own.
        Some(knob) => matches!(knob.newest().scope(), Scope::Host | Scope::User),
        None => unless_known.matches(name.as_bytes()) && Namespace::of(name).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{Access, CheckOptions, Errno, Rule, Source, Verdict, evaluate, parse};

    use super::*;

    #[test]
    fn a_way_out_is_one_in_every_list() {
        for (name, expected) in [
            ("kernel.core_pattern", "escape"),
            ("kernel.usermodehelper.bset", "escape"),
            ("vm.mmap_min_addr", "escape"),
            ("fs.ocfs2.nm.hb_ctl_path", "escape"),
            ("kernel.pid_max", "machine"),
            ("kernel.ns_last_pid", "workload"),
            ("vm.memfd_noexec", "workload"),
            ("kernel.sysrq", "machine"),
            ("kernel.hung_task_panic", "machine"),
            ("vm.swappiness", "machine"),
            ("fs.file-max", "machine"),
            ("kernel.yama.ptrace_scope", "machine"),
            ("net.core.bpf_jit_harden", "machine"),
            // Below net, but the machine has one.
            ("net.ipv4.tcp_mem", "machine"),
            ("net.vendor.limit", "workload"),
            ("kernel.vendor_limit", "machine"),
            ("fs.mqueue.msg_max", "workload"),
            ("kernel.shmmax", "workload"),
            ("kernel.domainname", "workload"),
            ("net.ipv4.ip_forward", "workload"),
            ("net.ipv4.conf.kernel.rp_filter", "workload"),
            ("user.max_user_namespaces", "machine"),
        ] {
            let reach = match reach(&KnobName::parse(name).unwrap()) {
                Reach::Workload => "workload",
                Reach::Machine(_) => "machine",
                Reach::Escape(_) => "escape",
            };
            assert_eq!(reach, expected, "{name}");
        }
    }

    /// The policy in examples and these lists have the same knobs.
    #[test]
    fn the_example_denies_what_is_listed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/usermode-helpers.knob");
        let text = std::fs::read_to_string(path).unwrap();
        let example = parse(Source::new("x.knob", text), &CheckOptions::default()).unwrap().into_policy();
        let escapes = [
            "fs.ocfs2.nm.hb_ctl_path",
            "fs.suid_dumpable",
            "kernel.core_pattern",
            "kernel.core_pipe_limit",
            "kernel.core_uses_pid",
            "kernel.firmware_config.force_sysfs_fallback",
            "kernel.hotplug",
            "kernel.modprobe",
            "kernel.poweroff_cmd",
            "kernel.usermodehelper.bset",
            "vm.mmap_min_addr",
        ];
        let machine = [
            "dev.tty.ldisc_autoload",
            "fs.protected_fifos",
            "kernel.cad_pid",
            "kernel.ctrl-alt-del",
            "kernel.dmesg_restrict",
            "kernel.hardlockup_panic",
            "kernel.hung_task_panic",
            "kernel.io_uring_disabled",
            "kernel.kexec_load_disabled",
            "kernel.kexec_load_limit_panic",
            "kernel.kptr_restrict",
            "kernel.modules_disabled",
            "kernel.oops_limit",
            "kernel.panic_on_oops",
            "kernel.perf_event_paranoid",
            "kernel.randomize_va_space",
            "kernel.softlockup_panic",
            "kernel.sysctl_writes_strict",
            "kernel.sysrq",
            "kernel.unprivileged_bpf_disabled",
            "kernel.unprivileged_userns_clone",
            "kernel.warn_limit",
            "kernel.yama.ptrace_scope",
            "net.core.bpf_jit_harden",
            "vm.panic_on_oom",
            "vm.unprivileged_userfaultfd",
        ];
        let names = escapes.iter().chain(&machine).map(|name| KnobName::parse(name).unwrap());
        let names: Vec<KnobName> = names.collect();
        for (index, name) in names.iter().enumerate() {
            let is_escape = index < escapes.len();
            match reach(name) {
                Reach::Escape(_) => assert!(is_escape, "{name}"),
                Reach::Machine(why) => assert!(!is_escape && why != NOT_NAMESPACED, "{name}"),
                Reach::Workload => panic!("{name}"),
            }
            let verdict = evaluate(&example, &Access::write(name.clone(), "1\n")).verdict;
            assert_eq!(verdict, Verdict::Deny(Errno::EPERM), "{name}");
        }
        let of_example = example.rules().iter().flat_map(Rule::patterns);
        for pattern in of_example.chain(PARSED.0.iter().map(|(pattern, _)| pattern)) {
            assert!(names.iter().any(|name| pattern.matches(name.as_bytes())), "{pattern}");
        }
    }
}
