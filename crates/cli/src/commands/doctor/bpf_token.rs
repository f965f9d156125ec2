//! Whether a process could load programs with a BPF token.
//!
//! Since Linux 6.9, a bpffs can be mounted with options (`delegate_cmds`, `delegate_progs`, `delegate_attachs`) that say what is delegated to
//! the user namespace that owns it. A process of that namespace that has `CAP_BPF` there makes a token of the root of the bpffs
//! (`bpf_token_create()`, kernel/bpf/token.c). With the token, its capabilities there count for what is delegated.

use std::fs;
use std::path::{Path, PathBuf};

use knobgate_bpf::uapi::{BPF_CGROUP_SYSCTL, BPF_PROG_TYPE_CGROUP_SYSCTL};
use knobgate_kernel::Capability;

use super::process_mounts::{ProcessMounts, open_files};
use super::workload::Workload;

/// `BPF_PROG_LOAD`, a command of bpf(2).
const PROG_LOAD: u32 = 5;

/// What lets it load programs for this hook, in words; `None` if nothing does.
pub(super) fn way_to_load(workload: &Workload, mounts: &ProcessMounts) -> Option<String> {
    let loads = workload.may_have_elsewhere(Capability::SysAdmin)
        || workload.may_have_elsewhere(Capability::Bpf) && workload.may_have_elsewhere(Capability::NetAdmin);
    if !loads {
        return None;
    }
    let delegating = mounts.find("bpf", Path::new("/")).find(|file| delegates(&file.mount.super_options));
    delegating
        .map(|file| format!("a token of the bpffs at {}, which delegates that", file.at.display()))
        .or_else(|| holds_token(mounts.pid()).then(|| "the BPF token that it holds open".to_owned()))
}

/// Whether a bpffs with these options delegates loading programs for this hook, and attaching them.
fn delegates(super_options: &str) -> bool {
    let allows = |option: &str, bit: u32, name: &str| {
        let mut values =
            super_options.split(',').filter_map(|given| given.strip_prefix(option)?.strip_prefix('='));
        values.any(|value| value.split(':').any(|word| word == "any" || word == name || has_bit(word, bit)))
    };
    allows("delegate_cmds", PROG_LOAD, "prog_load")
        && allows("delegate_progs", BPF_PROG_TYPE_CGROUP_SYSCTL, "cgroup_sysctl")
        && allows("delegate_attachs", BPF_CGROUP_SYSCTL, "cgroup_sysctl")
}

/// Whether this is a hexadecimal number with this bit set, as kernels without BTF print what is delegated.
fn has_bit(word: &str, bit: u32) -> bool {
    let number = word.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| number >> bit & 1 == 1)
}

fn holds_token(pid: u32) -> bool {
    let is_token = |target: PathBuf| target.as_os_str().to_string_lossy().contains("bpf-token");
    // It may have been closed in the meantime.
    open_files(pid).is_ok_and(|mut files| files.any(|file| fs::read_link(file).is_ok_and(is_token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bpffs_delegates_only_what_all_of_its_options_name() {
        let any = "delegate_cmds=any,delegate_maps=any,delegate_progs=any,delegate_attachs=any";
        let cases = [
            ("rw", false),
            ("rw,mode=700", false),
            (&format!("rw,{any}"), true),
            (
                "rw,delegate_cmds=map_create:prog_load,delegate_progs=cgroup_sysctl,delegate_attachs=cgroup_sysctl",
                true,
            ),
            (
                "rw,delegate_cmds=map_create,delegate_progs=cgroup_sysctl,delegate_attachs=cgroup_sysctl",
                false,
            ),
            ("rw,delegate_cmds=prog_load,delegate_progs=xdp,delegate_attachs=cgroup_sysctl", false),
            ("rw,delegate_cmds=prog_load,delegate_progs=cgroup_sysctl", false),
            ("rw,delegate_cmds=0x20,delegate_progs=0x800000,delegate_attachs=0x40000", true),
            ("rw,delegate_cmds=0x20,delegate_progs=0x800000,delegate_attachs=0x20000", false),
            ("rw,delegate_cmds=0xzz,delegate_progs=0x,delegate_attachs=", false),
        ];
        for (options, expected) in cases {
            assert_eq!(delegates(options), expected, "{options}");
        }
    }
}
