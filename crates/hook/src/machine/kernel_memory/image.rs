//! Filling in the structs, and where each of them is.

use knobgate_bpf::uapi::TASK_COMM_LEN;
use knobgate_bpf::{MemberType, StructDef};

use super::{KernelMemory, Object};
use crate::{Invocation, KnobSet, Namespaces, Task, VALUE_BYTES};

/// Tasks by their pid.
const TASKS: u64 = 0xffff_8880_0000_0000;
/// Cgroups by their id.
const CGROUPS: u64 = 0xffff_9100_0000_0000;
/// Namespaces by their number.
const NAMESPACES: u64 = 0xffff_a000_0000_0000;
/// The context.
pub(super) const CONTEXT: u64 = 0xffff_c900_0000_0000;

/// The bytes of addresses for one task or cgroup.
const ARENA: u64 = 1 << 17;
/// The bytes of addresses for one namespace.
const NAMESPACE: u64 = 1 << 13;
/// How many cgroups have addresses.
const CGROUPS_MAX: u64 = 1 << 24;
/// A pid has at most 22 bits: `PID_MAX_LIMIT` in include/linux/threads.h.
const PIDS: u64 = 1 << 22;

// Within the arena of a task.
const CRED: u64 = 0x10000;
const NSPROXY: u64 = 0x11000;
const PID: u64 = 0x12000;
// Within the arena of a cgroup.
const KERNFS_NODE: u64 = 0x10000;
const CSS_SET: u64 = 0x11000;
const NODE_NAME: u64 = 0x12000;
// Within that of the context.
const CTL_TABLE_HEADER: u64 = 0x1000;
const CTL_TABLE: u64 = 0x2000;
const PROCNAME: u64 = 0x3000;
const POSITION: u64 = 0x4000;
const CURRENT_VALUE: u64 = 0x6000;
const NEW_VALUE: u64 = 0x8000;
const SHARED_SET: u64 = 0xa000;

/// A function: whether a task can see the knobs of a network namespace.
const IS_SEEN: u64 = 0xffff_ffff_8100_0000;

/// The address of a task. `ancestor` is 0 for the current one, 1 for its parent, and so on: descriptions of different tasks
/// may have the same pid.
pub(super) fn task_address(task: &Task, ancestor: u64) -> u64 {
    TASKS + ((ancestor % 16) * PIDS + u64::from(task.pid) % PIDS) * ARENA
}

/// The most bytes that a struct of this name may take.
pub(crate) fn room_for(name: &str) -> u32 {
    match name {
        "task_struct" | "cgroup" => CRED as u32,
        _ if name == "net" || name.ends_with("_namespace") => NAMESPACE as u32,
        _ => (NSPROXY - CRED) as u32,
    }
}

impl KernelMemory {
    /// Adds a task with all that it leads to. Returns its address.
    pub(super) fn add_task(&mut self, task: &Task, ancestor: u64) -> u64 {
        let at = task_address(task, ancestor);
        if !self.place(at, "task_struct") {
            return at;
        }
        self.set(at, "task_struct.pid", task.pid.into());
        self.set(at, "task_struct.tgid", task.tgid.into());
        self.set(at, "task_struct.start_time", task.start_time);
        let comm = &task.comm[..task.comm.len().min(TASK_COMM_LEN - 1)];
        self.set_bytes(at, "task_struct.comm", comm);

        let leader = if task.tgid == task.pid {
            at
        } else {
            let leader = Task { pid: task.tgid, ..task.clone() };
            self.add_task(&leader, ancestor)
        };
        self.set(at, "task_struct.group_leader", leader);
        let swapper = Task { comm: b"swapper/0".to_vec(), ..Task::default() };
        let parent = match &task.parent {
            Some(parent) => self.add_task(parent, ancestor + 1),
            // The first task is its own parent.
            None if task.pid == 0 => at,
            None => self.add_task(&swapper, ancestor + 1),
        };
        self.set(at, "task_struct.real_parent", parent);
        self.set(at, "task_struct.parent", parent);

        let Namespaces { cgroup, ipc, mnt, net, pid, time, user, uts, .. } = task.namespaces;
        let (cred, proxy) = (at + CRED, at + NSPROXY);
        self.place(cred, "cred");
        self.set(at, "task_struct.cred", cred);
        self.set(at, "task_struct.real_cred", cred);
        self.set(cred, "cred.uid.val", task.uid.into());
        self.set(cred, "cred.gid.val", task.gid.into());
        self.set(cred, "cred.euid.val", task.euid.unwrap_or(task.uid).into());
        self.set(cred, "cred.egid.val", task.egid.unwrap_or(task.gid).into());
        let user = self.add_namespace("user_namespace", user);
        self.set(cred, "cred.user_ns", user);
        self.place(proxy, "nsproxy");
        self.set(at, "task_struct.nsproxy", proxy);
        for (member, name, inum) in [
            ("nsproxy.uts_ns", "uts_namespace", uts),
            ("nsproxy.ipc_ns", "ipc_namespace", ipc),
            ("nsproxy.mnt_ns", "mnt_namespace", mnt),
            ("nsproxy.pid_ns_for_children", "pid_namespace", pid),
            ("nsproxy.net_ns", "net", net),
            ("nsproxy.time_ns", "time_namespace", time),
            ("nsproxy.time_ns_for_children", "time_namespace", time),
            ("nsproxy.cgroup_ns", "cgroup_namespace", cgroup),
        ] {
            let namespace = self.add_namespace(name, inum);
            self.set(proxy, member, namespace);
        }
        let thread_pid = at + PID;
        self.add_pid(thread_pid, task);
        self.set(at, "task_struct.thread_pid", thread_pid);
        let cgroups = self.add_cgroups(task);
        self.set(at, "task_struct.cgroups", cgroups);
        at
    }

    /// Adds the ids of a thread: in the initial pid namespace, and in its own if that is another one.
    fn add_pid(&mut self, at: u64, task: &Task) {
        let (initial, own) = (Namespaces::default().pid, task.namespaces.pid);
        let mut ids = vec![(task.pid, initial)];
        if own != initial {
            ids.push((task.ns_ids.map_or(task.pid, |(_, pid)| pid), own));
        }
        self.place(at, "pid");
        self.set(at, "pid.level", ids.len() as u64 - 1);
        let size = MemberType::Struct("upid").size(self.structs().all()) as usize;
        let member = |path| StructDef::find(self.structs().all(), path).map(|(offset, _)| offset as usize);
        let (nr_at, namespace_at) = (member("upid.nr"), member("upid.ns"));
        let mut numbers = Vec::new();
        for (level, (nr, inum)) in (0..).zip(ids) {
            let namespace = self.add_namespace("pid_namespace", inum);
            self.set(namespace, "pid_namespace.level", level);
            let mut upid = vec![0; size];
            for (offset, bytes) in [(nr_at, &nr.to_le_bytes()[..]), (namespace_at, &namespace.to_le_bytes())]
            {
                if let Some(place) = offset.and_then(|at| upid.get_mut(at..)?.get_mut(..bytes.len())) {
                    place.copy_from_slice(bytes);
                }
            }
            numbers.extend(upid);
        }
        self.set_bytes(at, "pid.numbers", &numbers);
    }

    fn add_namespace(&mut self, name: &'static str, inum: u32) -> u64 {
        // Numbers of one kind are not used for another.
        let at = NAMESPACES + u64::from(inum) * NAMESPACE;
        if self.place(at, name) {
            self.set(at, &format!("{name}.ns.inum"), inum.into());
            if name == "net" {
                self.set(at, "net.sysctls.is_seen", IS_SEEN);
            }
        }
        at
    }

    /// Adds the cgroup of a task, and those above. Returns the address of its `struct css_set`.
    fn add_cgroups(&mut self, task: &Task) -> u64 {
        // A task that is in no cgroup of a hook is in the root.
        let root = (vec![1], vec![String::new()]);
        let (ids, names) =
            if task.cgroups.is_empty() { (&root.0, &root.1) } else { (&task.cgroups, &task.cgroup_names) };
        let mut parent = None;
        let mut own = 0;
        for (level, id) in ids.iter().enumerate() {
            let at = CGROUPS + (id % CGROUPS_MAX) * ARENA;
            own = at;
            if self.place(at, "cgroup") {
                let node = at + KERNFS_NODE;
                self.set(at, "cgroup.self.cgroup", at);
                self.set(at, "cgroup.level", level as u64);
                self.set(at, "cgroup.kn", node);
                self.place(node, "kernfs_node");
                self.set(node, "kernfs_node.id", *id);
                let mut name = names.get(level).map_or_else(Vec::new, |name| name.clone().into_bytes());
                name.push(0);
                self.place_bytes(at + NODE_NAME, name);
                self.set(node, "kernfs_node.name", at + NODE_NAME);
                if let Some(parent) = parent {
                    self.set(at, "cgroup.self.parent", parent + self.offset("cgroup.self"));
                    // A release has one of them.
                    for name in ["kernfs_node.parent", "kernfs_node.__parent"] {
                        self.set(node, name, parent + KERNFS_NODE);
                    }
                }
            }
            parent = Some(at);
        }
        let set = own + CSS_SET;
        if self.place(set, "css_set") {
            self.set(set, "css_set.dfl_cgrp", own);
            // As if all controllers were enabled in all cgroups.
            let css = own + self.offset("cgroup.self");
            let subsys = StructDef::find(self.structs().all(), "css_set.subsys");
            let bytes = subsys.map_or(0, |(_, of_type)| of_type.size(self.structs().all()));
            self.set_bytes(set, "css_set.subsys", &css.to_le_bytes().repeat(bytes as usize / 8));
        }
        set
    }

    /// Adds the context as it is now.
    pub(super) fn add_context(&mut self, invocation: &Invocation<'_>) {
        let at = CONTEXT;
        let [header, table] = [at + CTL_TABLE_HEADER, at + CTL_TABLE];
        self.place(at, "bpf_sysctl_kern");
        self.set(at, "bpf_sysctl_kern.head", header);
        self.set(at, "bpf_sysctl_kern.table", table);
        self.set(at, "bpf_sysctl_kern.cur_len", invocation.current.len() as u64);
        self.set(at, "bpf_sysctl_kern.cur_val", at + CURRENT_VALUE);
        self.place_bytes(at + CURRENT_VALUE, page(invocation.current));
        if let Some(new) = invocation.new_value() {
            self.set(at, "bpf_sysctl_kern.new_val", at + NEW_VALUE);
            self.set(at, "bpf_sysctl_kern.new_len", new.len() as u64);
            self.place_bytes(at + NEW_VALUE, page(&[new, invocation.after_new_value()].concat()));
        }
        self.set(at, "bpf_sysctl_kern.new_updated", invocation.replaced.into());
        self.set(at, "bpf_sysctl_kern.write", invocation.write.into());
        self.set(at, "bpf_sysctl_kern.ppos", at + POSITION);
        self.place_bytes(at + POSITION, invocation.position.to_le_bytes().to_vec());
        self.place(header, "ctl_table_header");
        self.set(header, "ctl_table_header.ctl_table", table);
        let set = match invocation.set {
            KnobSet::Shared => {
                self.place(at + SHARED_SET, "ctl_table_set");
                at + SHARED_SET
            }
            KnobSet::OfNet(inum) => self.add_namespace("net", inum) + self.offset("net.sysctls"),
            KnobSet::Unreadable => 0,
        };
        self.set(header, "ctl_table_header.set", set);
        self.place(table, "ctl_table");
        self.set(table, "ctl_table.procname", at + PROCNAME);
        let base = invocation.name.rsplit('/').next().unwrap_or_default();
        self.place_bytes(at + PROCNAME, [base.as_bytes(), &[0]].concat());
    }

    /// Adds a struct of zeros, unless something is there.
    fn place(&mut self, at: u64, name: &'static str) -> bool {
        let size = MemberType::Struct(name).size(self.structs().all());
        let is_new = !self.objects.contains_key(&at);
        if is_new {
            self.objects.insert(at, Object { bytes: vec![0; size as usize], of: Some(name) });
        }
        is_new
    }

    /// Adds what is no struct.
    fn place_bytes(&mut self, at: u64, bytes: Vec<u8>) {
        self.objects.insert(at, Object { bytes, of: None });
    }

    fn offset(&self, path: &str) -> u64 {
        StructDef::find(self.structs().all(), path).map_or(0, |(offset, _)| offset.into())
    }

    fn set(&mut self, at: u64, path: &str, value: u64) {
        self.set_bytes(at, path, &value.to_le_bytes());
    }

    /// Writes the first bytes of a member, as many as it has.
    fn set_bytes(&mut self, at: u64, path: &str, bytes: &[u8]) {
        let structs = self.structs().all();
        let Some((offset, of_type)) = StructDef::find(structs, path) else { return };
        let bytes = &bytes[..bytes.len().min(of_type.size(structs) as usize)];
        let object = self.objects.get_mut(&at);
        if let Some(place) =
            object.and_then(|object| object.bytes.get_mut(offset as usize..)?.get_mut(..bytes.len()))
        {
            place.copy_from_slice(bytes);
        }
    }
}

/// What the kernel has room for, filled up with zeros, where it has old contents of its heap.
fn page(bytes: &[u8]) -> Vec<u8> {
    let mut page = bytes.to_vec();
    page.resize(VALUE_BYTES.max(bytes.len()), 0);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::task_btf::kernel_structs;

    /// A task of which nothing is 0.
    fn task() -> Task {
        Task {
            tgid: 7,
            pid: 8,
            uid: 1,
            gid: 2,
            comm: b"fifteen letters".to_vec(),
            start_time: 3,
            ns_ids: Some((1, 2)),
            namespaces: Namespaces { pid: 4, ..Namespaces::default() },
            cgroups: vec![1, 5],
            cgroup_names: vec![String::new(), "web".to_owned()],
            ..Task::default()
        }
    }

    /// The members of all structs that are scalars or pointers.
    fn leaves(of: MemberType, path: &str, known: &[StructDef], found: &mut Vec<String>) {
        match of {
            MemberType::Struct(name) => {
                let of = known.iter().find(|known| known.name == name).expect("a struct that is known");
                for member in &of.members {
                    leaves(member.of_type, &format!("{path}.{}", member.name), known, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn all_members_of_all_structs_are_filled_in() {
        for profile in [Profile::LINUX_6_18, "6.1".parse().expect("a profile")] {
            let task = task();
            let mut invocation = Invocation::write("net/x", b"1", b"2", &task, &profile);
            invocation.replace_new(b"3");
            let mut memory = KernelMemory::new(None, &profile);
            let current = memory.current_task(&invocation);
            let context = memory.context(&invocation);
            let structs = kernel_structs(&profile);
            let cgroup = CGROUPS + 5 * ARENA;
            let places = [
                ("task_struct", current),
                ("cred", current + CRED),
                ("nsproxy", current + NSPROXY),
                ("pid", current + PID),
                ("css_set", cgroup + CSS_SET),
                ("cgroup", cgroup),
                ("kernfs_node", cgroup + KERNFS_NODE),
                ("bpf_sysctl_kern", context),
                ("ctl_table_header", context + CTL_TABLE_HEADER),
                ("ctl_table", context + CTL_TABLE),
            ];
            for (name, at) in places {
                let mut members = Vec::new();
                leaves(MemberType::Struct(name), name, structs, &mut members);
                for path in members {
                    let (offset, of_type) = StructDef::find(structs, &path).expect("a member");
                    let size = of_type.size(structs) as usize;
                    let bytes = memory.bytes(at + u64::from(offset), size).expect("it is there");
                    assert!(bytes.iter().any(|byte| *byte != 0), "{path} of {profile}");
                }
            }
        }
    }
}
