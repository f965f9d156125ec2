//! One access, as programs see it: `struct bpf_sysctl_kern` in include/linux/filter.h, and the task.

use crate::{CgroupStorage, KnobSet, Namespaces, Profile};

/// The size of the buffers of current and new values (`PAGE_SIZE`).
pub const VALUE_BYTES: usize = 4096;

/// One access, as the programs see it that run on it one after another. Later programs see what earlier ones have changed.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Whether the knob is written.
    pub write: bool,
    /// The file position (`ki_pos`), in bytes. Programs see and change its low 32 bits.
    pub position: i64,
    /// The name of the knob: its path below `/proc/sys`, without a leading slash.
    pub name: &'a str,
    /// The set of knobs that it is in, which a network namespace may own.
    pub set: KnobSet,
    /// The current value: what an internal read of the knob returned, at most 4096 bytes. Empty if it failed.
    pub current: &'a [u8],
    /// The new value: the first 4096 bytes that are written, or what replaced them. `None` for reads and for empty writes.
    pub(crate) new: Option<Vec<u8>>,
    /// What is after the new value in its buffer: the rest of longer values that were there before.
    pub(crate) after_new: Vec<u8>,
    /// Whether a program has replaced the new value.
    pub(crate) replaced: bool,
    /// What `bpf_get_retval` returns and `bpf_set_retval` sets.
    pub retval: i32,
    /// The task that makes the access.
    pub task: &'a Task,
    /// The id of the cgroup that the running program is attached to, for `bpf_get_local_storage`.
    pub attached_to: u64,
    /// The storage that was allocated when the running program was attached, for `bpf_get_local_storage`. `None`: the
    /// program's own maps.
    pub storage: Option<CgroupStorage>,
    /// The signals that programs have sent to the task. Nothing is delivered here.
    pub signals: Vec<SentSignal>,
    /// Which kernel this is.
    pub profile: &'a Profile,
}

impl<'a> Invocation<'a> {
    /// A read of the knob `name` at position 0.
    pub fn read(name: &'a str, current: &'a [u8], task: &'a Task, profile: &'a Profile) -> Self {
        Self {
            write: false,
            position: 0,
            name,
            set: KnobSet::of(name, &task.namespaces),
            current,
            new: None,
            after_new: Vec::new(),
            replaced: false,
            retval: 0,
            task,
            attached_to: task.cgroups.last().copied().unwrap_or(0),
            storage: None,
            signals: Vec::new(),
            profile,
        }
    }

    /// A write of `new` to the knob `name` at position 0. Programs get the first 4096 bytes, and nothing of an empty write.
    pub fn write(name: &'a str, current: &'a [u8], new: &[u8], task: &'a Task, profile: &'a Profile) -> Self {
        let seen = &new[..new.len().min(VALUE_BYTES)];
        let new = (!seen.is_empty()).then(|| seen.to_vec());
        Self { write: true, new, ..Self::read(name, current, task, profile) }
    }

    /// The new value: the first 4096 bytes that are written, or what replaced them. `None` for reads and for empty writes.
    pub fn new_value(&self) -> Option<&[u8]> {
        self.new.as_deref()
    }

    /// What programs have replaced the new value with, if anything.
    pub fn replacement(&self) -> Option<&[u8]> {
        self.new_value().filter(|_| self.replaced)
    }

    /// What is after the new value in its buffer: the rest of longer values that were there before.
    pub fn after_new_value(&self) -> &[u8] {
        &self.after_new
    }

    /// Replaces the new value as `bpf_sysctl_set_new_value` does after it has checked its arguments (the access is a write,
    /// and `value` has at most 4095 bytes): it copies `value` to the start of the buffer, and leaves the rest.
    pub fn replace_new(&mut self, value: &[u8]) {
        let mut buffer = self.new.take().unwrap_or_default();
        buffer.append(&mut self.after_new);
        if value.len() < buffer.len() {
            self.after_new = buffer.split_off(value.len());
        }
        self.new = Some(value.to_vec());
        self.replaced = true;
    }
}

/// A signal that a program has sent to the task whose access it runs on (`bpf_send_signal`, `bpf_send_signal_thread`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentSignal {
    /// Its number.
    pub number: u32,
    /// Whether it goes to this thread, instead of any thread of the process.
    pub to_thread: bool,
}

/// A task, as programs see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Task {
    /// Process (thread group) id.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    /// Both, process id first, in the task's own pid namespace. `None`: the same there.
    pub ns_ids: Option<(u32, u32)>,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Real group id in the initial user namespace.
    pub gid: u32,
    /// Effective user id; `None`: the real one. The hook takes it from the [`Credentials`](crate::Credentials).
    pub euid: Option<u32>,
    /// Effective group id; `None`: the real one. The hook takes it from the [`Credentials`](crate::Credentials).
    pub egid: Option<u32>,
    /// Name; at most 15 bytes.
    pub comm: Vec<u8>,
    /// When it was started, in nanoseconds of `CLOCK_MONOTONIC`.
    pub start_time: u64,
    /// The process that it belongs to; `None`: the kernel's own task of pid 0.
    pub parent: Option<Box<Task>>,
    /// The namespaces that it is in.
    pub namespaces: Namespaces,
    /// The class of its packets (`net_cls.classid`, of cgroup v1).
    pub classid: u32,
    /// The ids of its cgroup and all that cgroup's ancestors, from the root down.
    pub cgroups: Vec<u64>,
    /// The names of the same cgroups; that of the root is empty.
    pub cgroup_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_leaves_the_rest_of_the_buffer() {
        let (task, profile) = (Task::default(), Profile::default());
        let mut invocation = Invocation::write("kernel/x", b"", b"abcdef", &task, &profile);
        invocation.replace_new(b"XY");
        assert_eq!((invocation.new_value(), invocation.after_new_value()), (Some(&b"XY"[..]), &b"cdef"[..]));
        invocation.replace_new(b"123\0");
        invocation.replace_new(b"123");
        assert_eq!(
            (invocation.replacement(), invocation.after_new_value()),
            (Some(&b"123"[..]), &b"\0ef"[..])
        );
    }
}
