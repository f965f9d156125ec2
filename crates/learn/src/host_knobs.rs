//! Knobs that reach beyond the workload.
//!
//! None of the ones in [`ESCAPES`] is ever allowed by learning. The others are allowed, with a comment.

use std::sync::LazyLock;

use knobgate_policy::{KnobName, KnobPattern};

/// Knobs with which a process can get out of its container, or that make it easier, each with the reason and its source.
const ESCAPES: [(&str, &str); 6] = [
    (
        "kernel.core_pattern",
        "the kernel runs the program after a `|` as root, outside of all containers (fs/coredump.c)",
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
        "kernel.poweroff_cmd",
        "the kernel runs this command as root, outside of all containers (kernel/reboot.c)",
    ),
    (
        "kernel.usermodehelper.*",
        "it has the capabilities of all programs that the kernel runs (kernel/umh.c)",
    ),
    ("vm.mmap_min_addr", "a low address makes bugs of the kernel exploitable (security/min_addr.c)"),
];

/// Knobs that act on the whole machine in a way that people should know of.
const WARNINGS: [(&str, &str); 7] = [
    (
        "kernel.sysrq",
        "it enables keys that kill, unmount and reboot, on the whole machine (drivers/tty/sysrq.c)",
    ),
    ("kernel.{*panic*,ftrace_dump_on_oops}", "it decides when the whole machine stops (kernel/panic.c)"),
    ("fs.suid_dumpable", "it lets privileged programs dump their memory, on the whole machine (fs/exec.c)"),
    (
        "kernel.{kptr_restrict,dmesg_restrict,perf_event_paranoid,randomize_va_space,unprivileged_bpf_disabled,\
         kexec_load_disabled,modules_disabled,yama.ptrace_scope}",
        "it is a protection of the whole machine (Documentation/admin-guide/sysctl/kernel.rst)",
    ),
    (
        "fs.protected_{fifos,hardlinks,regular,symlinks}",
        "it is a protection of the whole machine (Documentation/admin-guide/sysctl/fs.rst)",
    ),
    ("net.core.bpf_jit_*", "it is a protection of the whole machine (net/core/sysctl_net_core.c)"),
    ("{abi,crypto,debug,dev,fs,kernel,vm}.**", "no namespace has its own: it is the whole machine's"),
];

/// Knobs that the last pattern of [`WARNINGS`] matches, and that a namespace has its own of: those of ipc/ipc_sysctl.c,
/// ipc/mq_sysctl.c and kernel/utsname_sysctl.c.
const NAMESPACED: &str = "{fs.mqueue.*,kernel.{auto_msgmni,domainname,hostname,msg*,sem,sem_next_id,shm*}}";

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
    (all(&ESCAPES), all(&WARNINGS), parse(NAMESPACED))
});

/// Whether a write of the knob reaches beyond the workload.
pub(crate) fn reach(name: &KnobName) -> Reach {
    let (escapes, warnings, namespaced) = &*PARSED;
    let find = |patterns: &Patterns| {
        patterns.iter().find(|(pattern, _)| pattern.matches(name.as_bytes())).map(|(_, why)| *why)
    };
    match (find(escapes), find(warnings)) {
        (Some(why), _) => Reach::Escape(why),
        (None, Some(why)) if !namespaced.matches(name.as_bytes()) => Reach::Machine(why),
        _ => Reach::Workload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_one_in_every_list() {
        for (name, expected) in [
            ("kernel.core_pattern", "escape"),
            ("kernel.usermodehelper.bset", "escape"),
            ("vm.mmap_min_addr", "escape"),
            ("kernel.sysrq", "machine"),
            ("kernel.hung_task_panic", "machine"),
            ("vm.swappiness", "machine"),
            ("fs.file-max", "machine"),
            ("kernel.yama.ptrace_scope", "machine"),
            ("net.core.bpf_jit_harden", "machine"),
            ("fs.mqueue.msg_max", "workload"),
            ("kernel.shmmax", "workload"),
            ("kernel.domainname", "workload"),
            ("net.ipv4.ip_forward", "workload"),
            ("net.ipv4.conf.kernel.rp_filter", "workload"),
            ("user.max_user_namespaces", "workload"),
        ] {
            let reach = match reach(&KnobName::parse(name).unwrap()) {
                Reach::Workload => "workload",
                Reach::Machine(_) => "machine",
                Reach::Escape(_) => "escape",
            };
            assert_eq!(reach, expected, "{name}");
        }
    }
}
