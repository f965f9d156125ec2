//! What programs read of the current task: the same on the kernel, at the offsets that its BTF gives, and on the model.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use knobgate_backend::{Backend, CgroupId, Placement, StepResult, Task};
use knobgate_bpf::{
    AluOp, Assembler, Cond, LayoutError, MapDef, MapKind, Program, Reg, Size, StructLayouts, helper_ids,
};
use knobgate_hook::task_btf::kernel_btf;
use knobgate_hook::{Knobs, Namespaces, Profile};
use knobgate_testing::Both;

/// The kernel's BTF.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const KNOB: &str = "kernel/ostype";
/// Bytes of results.
const BYTES: u32 = 256;
/// Where strings are in them; after them are their lengths and the comparisons.
const STRINGS: u32 = 96;
/// Where the results for pid namespaces are.
const PIDS: u32 = 224;

/// Numbers to read, each through pointers from the task on.
const NUMBERS: &[(&[&str], Size)] = &[
    (&["task_struct.cred", "cred.uid"], Size::U32),
    (&["task_struct.real_cred", "cred.gid"], Size::U32),
    (&["task_struct.cred", "cred.euid"], Size::U32),
    (&["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.level"], Size::U32),
    (&["task_struct.nsproxy", "nsproxy.net_ns", "net.ns.inum"], Size::U32),
    (&["task_struct.nsproxy", "nsproxy.uts_ns", "uts_namespace.ns.inum"], Size::U32),
    (&["task_struct.nsproxy", "nsproxy.ipc_ns", "ipc_namespace.ns.inum"], Size::U32),
    (&["task_struct.nsproxy", "nsproxy.pid_ns_for_children", "pid_namespace.ns.inum"], Size::U32),
    (&["task_struct.cred", "cred.user_ns", "user_namespace.ns.inum"], Size::U32),
    (&["task_struct.thread_pid", "pid.level"], Size::U32),
];

/// Pid namespaces that the program names: its own, and another one.
#[derive(Clone, Copy)]
struct PidNamespace {
    device: u64,
    inum: u64,
}

/// Strings to read, and whether the last member is a pointer to it.
const TEXTS: &[(&[&str], bool)] = &[
    (&["task_struct.comm"], false),
    (&["task_struct.group_leader", "task_struct.comm"], false),
    (&["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.kn", "kernfs_node.name"], true),
];

/// Compares the results of accesses from two nested cgroups.
pub(crate) fn compare() -> Result<String, String> {
    let profile = knobgate_testing::profile();
    let vmlinux = fs::read(VMLINUX).map_err(|error| format!("{VMLINUX}: {error}"))?;
    let modelled = kernel_btf(&profile);
    let mut both = Both::new(Knobs::defaults_for(&profile));
    // The namespaces of the test are its own; the model has those of the machine.
    let own = own_namespaces()?;
    let Namespaces { device, pid, .. } = Namespaces::default();
    let of_model = PidNamespace { device: device.into(), inum: pid.into() };
    let metadata = fs::metadata("/proc/self/ns/pid").map_err(|error| error.to_string())?;
    let of_kernel = PidNamespace { device: metadata.dev(), inum: metadata.ino() };
    let initial = of_kernel.inum == of_model.inum;
    let of_kernel = program(&vmlinux, &profile, of_kernel).map_err(|error| error.to_string())?;
    let of_model = program(&modelled, &profile, of_model).map_err(|error| error.to_string())?;
    let mut results = Vec::new();
    let backends: [(&mut dyn Backend, &Program); 2] =
        [(&mut both.kernel, &of_kernel), (&mut both.model, &of_model)];
    for (backend, program) in backends {
        results.push(play(backend, program).map_err(|error| format!("{error:?}"))?);
    }
    let [kernel, model] = &mut results[..] else { return Err("two results".to_owned()) };
    for (index, (path, _)) in NUMBERS.iter().enumerate() {
        if let Some(inum) = own.iter().find(|(name, _)| path.iter().any(|member| member.contains(name))) {
            let found = &mut kernel[8 * index..][..8];
            if found != u64::from(inum.1).to_le_bytes() {
                return Err(format!("{path:?} is {found:?} in the kernel, and {} in /proc", inum.1));
            }
            found.copy_from_slice(&model[8 * index..][..8]);
        }
    }
    if !initial {
        // There, the kernel has other ids than the model, which is in the initial namespace.
        let level = NUMBERS.iter().position(|(path, _)| path.ends_with(&["pid.level"])).unwrap_or(0);
        for at in [8 * level, PIDS as usize + 16] {
            kernel[at..at + 8].copy_from_slice(&model[at..at + 8]);
        }
    }
    if kernel != model {
        return Err(format!("\n  kernel {}\n  model  {}", kernel.escape_ascii(), model.escape_ascii()));
    }
    Ok(format!("{} numbers and {} strings, no difference", NUMBERS.len(), TEXTS.len()))
}

/// The numbers of the namespaces of this process, by the members that lead to them.
fn own_namespaces() -> Result<Vec<(&'static str, u32)>, String> {
    let names = [
        ("net_ns", "net"),
        ("uts_ns", "uts"),
        ("ipc_ns", "ipc"),
        ("pid_ns_for_children", "pid_for_children"),
        ("user_ns", "user"),
    ];
    let read = |(member, file)| {
        let link = fs::read_link(format!("/proc/self/ns/{file}")).map_err(|error| error.to_string())?;
        let link = link.to_string_lossy().into_owned();
        let inum = link.trim_end_matches(']').rsplit('[').next().and_then(|inum| inum.parse().ok());
        Ok((member, inum.ok_or(link)?))
    };
    names.into_iter().map(read).collect()
}

/// One access from a cgroup with a name, by a task with one.
fn play(backend: &mut dyn Backend, program: &Program) -> StepResult<Vec<u8>> {
    let cgroup = backend.create_cgroup(CgroupId::SCRATCH, "named")?;
    backend.set_task(cgroup, &Task { uid: 12, gid: 34, comm: b"reader".to_vec() })?;
    let program = backend.load(program, None)?;
    let link = backend.link(cgroup, program, &Placement::default())?;
    let request = knobgate_backend::Request::Read { count: 64, fill: 0 };
    backend.access_knob(cgroup, KNOB, request, 0, false)?;
    let map = backend.maps(program)?[0];
    let entries = backend.entries(map)?;
    backend.close_link(link)?;
    Ok(entries.into_iter().next().map(|(_, value)| value).unwrap_or_default())
}

/// A program that stores all of it: with loads through pointers with types where the kernel has
/// `bpf_get_current_task_btf`, and with `bpf_probe_read_kernel`.
fn program(btf: &[u8], profile: &Profile, own: PidNamespace) -> Result<Program, LayoutError> {
    let layouts = StructLayouts::read(btf)?;
    let mut asm = Assembler::new();
    let typed = profile.has_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.call_helper(helper_ids::GET_CURRENT_TASK);
    asm.mov(Reg::R6, Reg::R0);
    asm.mov(Reg::R7, Reg::R0);
    if typed {
        asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
        asm.mov(Reg::R7, Reg::R0);
    }
    for (index, &(path, size)) in NUMBERS.iter().enumerate() {
        if typed && index % 2 == 0 {
            asm.mov(Reg::R8, Reg::R7);
            for (depth, member) in path.iter().enumerate() {
                let last = depth + 1 == path.len();
                let size = if last { size } else { Size::U64 };
                asm.load(size, Reg::R8, Reg::R8, layouts.offset(member)? as i16);
            }
        } else {
            follow(&mut asm, &layouts, path, true)?;
            read(&mut asm, helper_ids::PROBE_READ_KERNEL, 4);
            asm.load(Size::U32, Reg::R8, Reg::R10, -16);
        }
        asm.load_map_value(Reg::R1, 0, 8 * index as u32);
        asm.store(Size::U64, Reg::R1, 0, Reg::R8);
    }
    for (index, &(path, through)) in TEXTS.iter().enumerate() {
        follow(&mut asm, &layouts, path, !through)?;
        asm.load_map_value(Reg::R1, 0, STRINGS + 16 * index as u32);
        asm.mov(Reg::R2, 16);
        asm.mov(Reg::R3, Reg::R8);
        asm.call_helper(helper_ids::PROBE_READ_KERNEL_STR);
        asm.load_map_value(Reg::R1, 0, STRINGS + 64 + 8 * index as u32);
        asm.store(Size::U64, Reg::R1, 0, Reg::R0);
    }
    same_as_helpers(&mut asm, &layouts)?;
    if profile.has_helper(helper_ids::GET_NS_CURRENT_PID_TGID) {
        pids(&mut asm, own);
    }
    asm.mov(Reg::R0, 1);
    asm.exit();
    let map = MapDef {
        name: "results".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: BYTES,
        max_entries: 1,
        ..MapDef::default()
    };
    let code = asm.finish(false).map_err(|_| LayoutError::Unreadable)?;
    Ok(Program { name: "tasks".to_owned(), maps: vec![map], ..Program::from(code) })
}

/// What `bpf_get_ns_current_pid_tgid` returns for the program's own pid namespace and for another one, and whether the ids
/// are those in the initial one.
fn pids(asm: &mut Assembler, own: PidNamespace) {
    asm.call_helper(helper_ids::GET_CURRENT_PID_TGID);
    asm.mov(Reg::R7, Reg::R0);
    for (index, inum) in [own.inum + 1, own.inum].into_iter().enumerate() {
        asm.load_imm64(Reg::R1, own.device);
        asm.load_imm64(Reg::R2, inum);
        asm.mov(Reg::R3, Reg::R10);
        asm.alu(AluOp::Add, Reg::R3, -16);
        asm.mov(Reg::R4, 8);
        asm.call_helper(helper_ids::GET_NS_CURRENT_PID_TGID);
        asm.load_map_value(Reg::R1, 0, PIDS + 8 * index as u32);
        asm.store(Size::U64, Reg::R1, 0, Reg::R0);
    }
    // `pid` comes first in memory, and is the low half in r7.
    asm.load(Size::U64, Reg::R8, Reg::R10, -16);
    let same = asm.new_label();
    asm.mov(Reg::R0, 1);
    asm.jump_if(Cond::Eq, Reg::R7, Reg::R8, same);
    asm.mov(Reg::R0, 0);
    asm.bind(same);
    asm.load_map_value(Reg::R1, 0, PIDS + 16);
    asm.store(Size::U64, Reg::R1, 0, Reg::R0);
}

/// The address of the last member of a path in r8, or what it points to.
fn follow(
    asm: &mut Assembler,
    layouts: &StructLayouts<'_>,
    path: &[&str],
    address: bool,
) -> Result<(), LayoutError> {
    asm.mov(Reg::R8, Reg::R6);
    for (depth, member) in path.iter().enumerate() {
        asm.alu(AluOp::Add, Reg::R8, layouts.offset(member)? as i32);
        if !address || depth + 1 < path.len() {
            read(asm, helper_ids::PROBE_READ_KERNEL, 8);
            asm.load(Size::U64, Reg::R8, Reg::R10, -16);
        }
    }
    Ok(())
}

/// Reads from r8 to the stack.
fn read(asm: &mut Assembler, helper: u32, bytes: i32) {
    asm.mov(Reg::R1, Reg::R10);
    asm.alu(AluOp::Add, Reg::R1, -16);
    asm.mov(Reg::R2, bytes);
    asm.mov(Reg::R3, Reg::R8);
    asm.call_helper(helper);
}

/// Whether ids are those that helpers return, and whether the task leads its own group: three numbers that are 1.
fn same_as_helpers(asm: &mut Assembler, layouts: &StructLayouts<'_>) -> Result<(), LayoutError> {
    let id_path: &[&str] = &["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.kn", "kernfs_node.id"];
    let checks: [(&[&str], u32); 3] = [
        (id_path, helper_ids::GET_CURRENT_CGROUP_ID),
        (&["task_struct.group_leader"], helper_ids::GET_CURRENT_TASK),
        (&["task_struct.real_parent", "task_struct.group_leader"], helper_ids::GET_CURRENT_TASK),
    ];
    for (index, (path, helper)) in checks.into_iter().enumerate() {
        follow(asm, layouts, path, false)?;
        asm.call_helper(helper);
        let same = asm.new_label();
        asm.mov(Reg::R7, 1);
        asm.jump_if(Cond::Eq, Reg::R8, Reg::R0, same);
        asm.mov(Reg::R7, 0);
        asm.bind(same);
        asm.load_map_value(Reg::R1, 0, STRINGS + 64 + 8 * (TEXTS.len() + index) as u32);
        asm.store(Size::U64, Reg::R1, 0, Reg::R7);
    }
    Ok(())
}
