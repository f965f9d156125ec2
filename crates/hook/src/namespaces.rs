//! The namespaces of a task.

/// The numbers of the namespaces that a task is in, as `readlink /proc/self/ns/*` shows them. The default are the initial
/// ones (`include/uapi/linux/nsfs.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named after the files")]
pub struct Namespaces {
    pub cgroup: u32,
    pub ipc: u32,
    pub mnt: u32,
    pub net: u32,
    /// That of the task; its children get the same.
    pub pid: u32,
    pub time: u32,
    pub user: u32,
    pub uts: u32,
    /// The device of these files (`st_dev`), which `bpf_get_ns_current_pid_tgid` compares.
    pub device: u32,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            cgroup: 0xefff_fffb,
            ipc: 0xefff_ffff,
            mnt: 0xefff_fff8,
            net: 0xefff_fff9,
            pid: 0xefff_fffc,
            time: 0xefff_fffa,
            user: 0xefff_fffd,
            uts: 0xefff_fffe,
            device: 4,
        }
    }
}
