//! The kernel's structs that programs can read: what the current task leads to.
//!
//! This is the only place that knows them. Programs see the bytes of [`KernelMemory`](crate::machine), which is laid out by
//! this table; relocations of objects (CO-RE) are resolved against its [BTF](kernel_btf). A struct has only the members that
//! the model fills in, so that a relocation against anything else fails by name instead of reading zeros. With the
//! [BTF of a kernel](crate::KernelBtf), the same members are where that kernel has them.

use std::sync::LazyLock;

use knobgate_bpf::uapi::TASK_COMM_LEN;
use knobgate_bpf::{KernelStructs, MemberType, StructDef, struct_btf};

use crate::Profile;
use MemberType::{Array, Int, Pointer, Struct, Void};

const CHAR: MemberType = Int { name: "char", size: 1, signed: true };
const INT: MemberType = Int { name: "int", size: 4, signed: true };
const UNSIGNED_INT: MemberType = Int { name: "unsigned int", size: 4, signed: false };
const UNSIGNED_LONG: MemberType = Int { name: "unsigned long", size: 8, signed: false };
const UNSIGNED_LONG_LONG: MemberType = Int { name: "unsigned long long", size: 8, signed: false };
const STRING: MemberType = Pointer(&CHAR);

/// How many controllers there are (`CGROUP_SUBSYS_COUNT`), and how deep pid namespaces are nested here.
const CGROUP_SUBSYS_COUNT: u32 = 12;
const PID_LEVELS: u32 = 2;

/// A pointer to the struct of this name.
macro_rules! to {
    ($name:literal) => {
        Pointer(&Struct($name))
    };
}

type Members = &'static [(&'static str, MemberType)];

/// The structs and their members, in the order of memory: a struct comes after those that are inside of it.
const STRUCTS: &[(&str, Members)] = &[
    ("ns_common", &[("inum", UNSIGNED_INT)]),
    ("uts_namespace", &[("ns", Struct("ns_common"))]),
    ("ipc_namespace", &[("ns", Struct("ns_common"))]),
    ("mnt_namespace", &[("ns", Struct("ns_common"))]),
    ("pid_namespace", &[("level", UNSIGNED_INT), ("ns", Struct("ns_common"))]),
    ("ctl_table_set", &[("is_seen", Pointer(&Void))]),
    ("net", &[("ns", Struct("ns_common")), ("sysctls", Struct("ctl_table_set"))]),
    ("time_namespace", &[("ns", Struct("ns_common"))]),
    ("cgroup_namespace", &[("ns", Struct("ns_common"))]),
    ("user_namespace", &[("ns", Struct("ns_common"))]),
    (
        "nsproxy",
        &[
            ("uts_ns", to!("uts_namespace")),
            ("ipc_ns", to!("ipc_namespace")),
            ("mnt_ns", to!("mnt_namespace")),
            ("pid_ns_for_children", to!("pid_namespace")),
            ("net_ns", to!("net")),
            ("time_ns", to!("time_namespace")),
            ("time_ns_for_children", to!("time_namespace")),
            ("cgroup_ns", to!("cgroup_namespace")),
        ],
    ),
    ("upid", &[("nr", INT), ("ns", to!("pid_namespace"))]),
    ("pid", &[("level", UNSIGNED_INT), ("numbers", Array(&Struct("upid"), PID_LEVELS))]),
    // Typedefs in the kernel.
    ("kuid_t", &[("val", UNSIGNED_INT)]),
    ("kgid_t", &[("val", UNSIGNED_INT)]),
    (
        "cred",
        &[
            ("uid", Struct("kuid_t")),
            ("gid", Struct("kgid_t")),
            ("euid", Struct("kuid_t")),
            ("egid", Struct("kgid_t")),
            ("user_ns", to!("user_namespace")),
        ],
    ),
    // `__parent` since 6.15.
    ("kernfs_node", &[("parent", to!("kernfs_node")), ("name", STRING), ("id", UNSIGNED_LONG_LONG)]),
    ("cgroup_subsys_state", &[("cgroup", to!("cgroup")), ("parent", to!("cgroup_subsys_state"))]),
    ("cgroup", &[("self", Struct("cgroup_subsys_state")), ("level", INT), ("kn", to!("kernfs_node"))]),
    (
        "css_set",
        &[("subsys", Array(&to!("cgroup_subsys_state"), CGROUP_SUBSYS_COUNT)), ("dfl_cgrp", to!("cgroup"))],
    ),
    (
        "task_struct",
        &[
            ("pid", INT),
            ("tgid", INT),
            ("real_parent", to!("task_struct")),
            ("parent", to!("task_struct")),
            ("group_leader", to!("task_struct")),
            ("thread_pid", to!("pid")),
            ("start_time", UNSIGNED_LONG_LONG),
            ("real_cred", to!("cred")),
            ("cred", to!("cred")),
            ("comm", Array(&CHAR, TASK_COMM_LEN as u32)),
            ("nsproxy", to!("nsproxy")),
            ("cgroups", to!("css_set")),
        ],
    ),
    ("ctl_table", &[("procname", STRING)]),
    ("ctl_table_header", &[("ctl_table", to!("ctl_table")), ("set", to!("ctl_table_set"))]),
    (
        "bpf_sysctl_kern",
        &[
            ("head", to!("ctl_table_header")),
            ("table", to!("ctl_table")),
            ("cur_val", Pointer(&Void)),
            ("cur_len", UNSIGNED_LONG),
            ("new_val", Pointer(&Void)),
            ("new_len", UNSIGNED_LONG),
            ("new_updated", INT),
            ("write", INT),
            ("ppos", Pointer(&LOFF_T)),
        ],
    ),
];

const LOFF_T: MemberType = Int { name: "long long", size: 8, signed: true };

/// The structs of kernels before and since the release that renamed a member.
static BEFORE_6_15: LazyLock<KernelStructs> = LazyLock::new(|| layouts(&["parent"]));
static SINCE_6_15: LazyLock<KernelStructs> = LazyLock::new(|| layouts(&["__parent"]));
/// With the member under both names, of which a kernel has one.
static ALL: LazyLock<KernelStructs> = LazyLock::new(|| layouts(&["parent", "__parent"]));

fn layouts(kernfs_parent: &[&'static str]) -> KernelStructs {
    let mut structs: Vec<StructDef> = Vec::new();
    for (name, members) in STRUCTS {
        let mut members = members.to_vec();
        if *name == "kernfs_node" {
            let (_, of_type) = members.remove(0);
            members.extend(kernfs_parent.iter().map(|name| (*name, of_type)));
        }
        structs.push(StructDef::new(name, &members, &structs));
    }
    KernelStructs::own(structs)
}

/// The structs that programs of this kernel can read. Offsets are those of the model, not those of any kernel.
pub fn kernel_structs(profile: &Profile) -> &'static [StructDef] {
    own_structs(profile).all()
}

pub(crate) fn own_structs(profile: &Profile) -> &'static KernelStructs {
    if profile.version < (6, 15) { &BEFORE_6_15 } else { &SINCE_6_15 }
}

/// The structs of all releases.
pub(crate) fn all_structs() -> &'static [StructDef] {
    ALL.all()
}

/// Whether this is a member that kernels of this profile have under another name.
pub(crate) fn was_renamed(profile: &Profile, what: &str) -> bool {
    let absent = if profile.version < (6, 15) { "__parent" } else { "parent" };
    what.strip_prefix("struct kernfs_node.") == Some(absent)
}

/// The same as BTF, like `/sys/kernel/btf/vmlinux`: what relocations of objects (CO-RE) are resolved against.
pub fn kernel_btf(profile: &Profile) -> Vec<u8> {
    struct_btf(kernel_structs(profile))
}

/// The type of the scalar or pointer at these bytes of a struct: `btf_struct_walk()` in kernel/bpf/btf.c. An array of integers
/// can be read in other units than its own. `None`: they are not within one.
pub(crate) fn member_at(structs: &[StructDef], name: &str, offset: u32, size: u32) -> Option<MemberType> {
    let of = structs.iter().find(|of| of.name == name)?;
    let member = of.members.iter().rfind(|member| member.offset <= offset)?;
    part(structs, member.of_type, offset - member.offset, size)
}

fn part(structs: &[StructDef], of: MemberType, offset: u32, size: u32) -> Option<MemberType> {
    match of {
        Int { size: bytes, .. } => (offset < bytes && size <= bytes - offset).then_some(of),
        Pointer(_) => (offset == 0 && size == 8).then_some(of),
        Struct(name) => member_at(structs, name, offset, size),
        Array(element @ Int { .. }, count) => {
            let bytes = element.size(structs) * count;
            (offset < bytes && size <= bytes - offset).then_some(*element)
        }
        Array(element, count) => {
            let bytes = element.size(structs);
            (offset < bytes * count).then(|| part(structs, *element, offset % bytes, size))?
        }
        Void => None,
    }
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::StructLayouts;

    use super::*;

    #[test]
    fn the_btf_leads_from_a_task_to_all_that_monitors_read() {
        let btf = kernel_btf(&Profile::default());
        let layouts = StructLayouts::read(&btf).expect("BTF");
        let members = [
            "task_struct.tgid",
            "task_struct.comm",
            "nsproxy.net_ns",
            "net.ns.inum",
            "cred.euid.val",
            "css_set.dfl_cgrp",
            "cgroup.self.parent",
            "kernfs_node.__parent",
            "bpf_sysctl_kern.table",
        ];
        for member in members {
            assert!(layouts.offset(member).is_ok(), "{member}");
        }
    }

    #[test]
    fn an_array_of_integers_can_be_read_in_other_units() {
        let structs = kernel_structs(&Profile::default());
        let (comm, _) = StructDef::find(structs, "task_struct.comm").expect("a member");
        for (offset, size, is_within) in [
            (0, 1, true),
            (0, 8, true),
            (4, 4, true),
            (3, 8, true),
            (8, 8, true),
            (9, 8, false),
            (16, 1, false),
        ] {
            let found = member_at(structs, "task_struct", comm + offset, size);
            let is_comm = matches!(found, Some(Int { size: 1, .. }));
            assert_eq!(is_comm, is_within, "{size} bytes at {offset}");
        }
    }

    #[test]
    fn each_struct_is_complete_before_it_is_inside_of_another() {
        for of in kernel_structs(&Profile::default()) {
            assert!(of.size > 0, "{}", of.name);
            for member in &of.members {
                assert!(member.offset < of.size, "{}.{}", of.name, member.name);
            }
        }
    }

    #[test]
    fn a_member_has_the_name_that_it_has_in_that_release() {
        let old: Profile = "6.12".parse().expect("a profile");
        let node = |profile| kernel_structs(profile).iter().find(|of| of.name == "kernfs_node");
        assert!(node(&old).is_some_and(|node| node.member("parent").is_some()));
        assert!(node(&Profile::default()).is_some_and(|node| node.member("__parent").is_some()));
    }
}
