//! What programs read of the kernel: the current task, the context, and addresses of nothing.

use knobgate_bpf::{AluOp, Assembler, Cond, MapKind, Reg, Size, StructDef, helper_ids};
use knobgate_hook::task_btf::kernel_structs;
use knobgate_hook::{Credentials, Hook, LoadedProgram, Namespaces, Process, Profile};

use super::{allow, fault, keep, load, map, number, on_write, rejection, result, results};

const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const ERANGE: i64 = -34;

/// The offset of a member, as CO-RE would put it into an instruction.
fn offset(path: &str) -> i16 {
    let structs = kernel_structs(&Profile::LINUX_6_18);
    StructDef::find(structs, path).unwrap_or_else(|| panic!("there is no {path}")).0 as i16
}

/// Loads through the pointer in r0, member by member, and stores what the last one holds.
fn load_path(asm: &mut Assembler, path: &[&str], size: Size, at: i16) {
    asm.mov(Reg::R8, Reg::R0);
    for (depth, member) in path.iter().enumerate() {
        let size = if depth + 1 == path.len() { size } else { Size::U64 };
        asm.load(size, Reg::R8, Reg::R8, offset(member));
    }
    keep(asm, Reg::R8, at);
}

/// `bpf_probe_read_kernel` of what is at r3 to the stack; what it returns and what it reads are results.
fn probe_read(asm: &mut Assembler, helper: u32, size: i32) {
    asm.store_imm(Size::U64, Reg::R10, -16, -1);
    asm.store_imm(Size::U64, Reg::R10, -8, -1);
    asm.mov(Reg::R1, Reg::R10);
    asm.alu(AluOp::Add, Reg::R1, -16);
    asm.mov(Reg::R2, size);
    asm.call_helper(helper);
    keep(asm, Reg::R0, 0);
    asm.load(Size::U64, Reg::R0, Reg::R10, -16);
    keep(asm, Reg::R0, 8);
}

/// The parent of a process in a cgroup of a cgroup.
fn hook() -> (Hook, knobgate_hook::ProcessId) {
    let mut hook = Hook::default();
    let slice = hook.create_cgroup(hook.root(), "system.slice").expect("a new cgroup");
    let service = hook.create_cgroup(slice, "web.service").expect("a new cgroup");
    let shell = hook.spawn(slice, Process::default().pid(700).comm("sh").uid(5)).expect("a process");
    let shell = hook.process(shell).expect("it runs").clone();
    let namespaces = Namespaces { net: 4_026_532_000, ..Namespaces::default() };
    let mut process = Process::default().pid(701).comm("nginx").parent(shell).namespaces(namespaces);
    process.task.uid = 33;
    process.credentials = Credentials { euid: 34, ..Credentials::default() };
    let process = hook.spawn(service, process).expect("a process");
    (hook, process)
}

/// Runs a program for an access of the process.
fn run(hook: &mut Hook, process: knobgate_hook::ProcessId, program: &LoadedProgram) {
    let loaded = hook.load(program.clone());
    hook.link(hook.root(), loaded, Default::default()).expect("attached");
    hook.read_knob(process, "kernel/ostype").unwrap_or_else(|fault| panic!("{:?}", fault.source));
}

#[test]
fn loads_through_the_task_lead_to_what_a_test_has_set() {
    let (mut hook, process) = hook();
    let cases: [(&[&str], Size, u64); 14] = [
        (&["task_struct.pid"], Size::U32, 701),
        (&["task_struct.tgid"], Size::U32, 701),
        (&["task_struct.comm"], Size::U8, b'n'.into()),
        (&["task_struct.real_parent", "task_struct.pid"], Size::U32, 700),
        (&["task_struct.real_parent", "task_struct.real_parent", "task_struct.comm"], Size::U8, b's'.into()),
        (&["task_struct.real_parent", "task_struct.cred", "cred.uid"], Size::U32, 5),
        (&["task_struct.cred", "cred.uid"], Size::U32, 33),
        (&["task_struct.cred", "cred.euid"], Size::U32, 34),
        (&["task_struct.nsproxy", "nsproxy.net_ns", "net.ns.inum"], Size::U32, 4_026_532_000),
        (&["task_struct.cred", "cred.user_ns", "user_namespace.ns.inum"], Size::U32, 4_026_531_837),
        (&["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.kn", "kernfs_node.id"], Size::U64, 3),
        (&["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.level"], Size::U32, 2),
        (
            &["task_struct.cgroups", "css_set.subsys", "cgroup_subsys_state.cgroup", "cgroup.level"],
            Size::U32,
            2,
        ),
        (&["task_struct.thread_pid", "pid.numbers"], Size::U32, 701),
    ];
    for (path, size, expected) in cases {
        let mut asm = Assembler::new();
        asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
        load_path(&mut asm, path, size, 0);
        allow(&mut asm);
        let program = load(asm, vec![results(8)]).unwrap_or_else(|rejection| panic!("{path:?}: {rejection}"));
        run(&mut hook, process, &program);
        assert_eq!(number(&program.maps()[0], 0), expected, "{path:?}");
    }
}

#[test]
fn a_process_that_is_moved_or_changed_is_seen_as_it_is_then() {
    let (mut hook, process) = hook();
    let other = hook.create_cgroup(hook.root(), "other").expect("a new cgroup");
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.mov(Reg::R6, Reg::R0);
    load_path(
        &mut asm,
        &["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.kn", "kernfs_node.name"],
        Size::U64,
        0,
    );
    asm.load_map_value(Reg::R1, 0, 0);
    asm.mov(Reg::R2, 8);
    asm.mov(Reg::R3, Reg::R8);
    asm.call_helper(helper_ids::PROBE_READ_KERNEL_STR);
    asm.mov(Reg::R0, Reg::R6);
    load_path(&mut asm, &["task_struct.cred", "cred.euid"], Size::U32, 8);
    allow(&mut asm);
    let program = load(asm, vec![results(16)]).expect("loads");
    hook.move_process(process, other).expect("moved");
    hook.change_process(process, |process| process.credentials.euid = 77).expect("changed");
    run(&mut hook, process, &program);
    assert_eq!(number(&program.maps()[0], 0).to_le_bytes()[..6], *b"other\0");
    assert_eq!(number(&program.maps()[0], 8), 77);
}

#[test]
fn the_path_of_the_cgroup_is_read_from_node_to_node() {
    let (mut hook, process) = hook();
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.load(Size::U64, Reg::R6, Reg::R0, offset("task_struct.cgroups"));
    asm.load(Size::U64, Reg::R6, Reg::R6, offset("css_set.dfl_cgrp"));
    asm.load(Size::U64, Reg::R6, Reg::R6, offset("cgroup.kn"));
    for level in 0..3 {
        asm.load(Size::U64, Reg::R3, Reg::R6, offset("kernfs_node.name"));
        asm.load_map_value(Reg::R1, 0, 32 * level);
        asm.mov(Reg::R2, 24);
        asm.call_helper(helper_ids::PROBE_READ_KERNEL_STR);
        keep(&mut asm, Reg::R0, 32 * level as i16 + 24);
        asm.load(Size::U64, Reg::R6, Reg::R6, offset("kernfs_node.__parent"));
    }
    // The root has no parent, and a load through a null pointer to a struct of the kernel is 0.
    keep(&mut asm, Reg::R6, 96);
    asm.load(Size::U64, Reg::R6, Reg::R6, offset("kernfs_node.id"));
    keep(&mut asm, Reg::R6, 104);
    allow(&mut asm);
    let program = load(asm, vec![results(112)]).expect("loads");
    run(&mut hook, process, &program);
    let value = program.maps()[0].lookup(&[0; 4]).expect("one value");
    let texts: Vec<_> =
        value.chunks(32).take(3).map(|row| (row[..13].escape_ascii().to_string(), row[24])).collect();
    let expected = [("web.service\\x00\\x00", 12), ("system.slice\\x00", 13), (&"\\x00".repeat(13)[..], 1)];
    assert_eq!(texts, expected.map(|(text, len)| (text.to_owned(), len)));
    assert_eq!((number(&program.maps()[0], 96), number(&program.maps()[0], 104)), (0, 0));
}

#[test]
fn the_task_is_a_number_that_probe_read_kernel_takes() {
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK);
    asm.mov(Reg::R3, Reg::R0);
    asm.alu(AluOp::Add, Reg::R3, i32::from(offset("task_struct.pid")));
    probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL, 8);
    allow(&mut asm);
    let program = load(asm, vec![results(16)]).expect("loads");
    on_write(&program, b"", b"x").expect("runs");
    assert_eq!((number(&program.maps()[0], 0), number(&program.maps()[0], 8)), (0, 7 << 32 | 8));
}

#[test]
fn both_helpers_return_the_same_task_in_every_run() {
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK);
    asm.mov(Reg::R6, Reg::R0);
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    let (other, end) = (asm.new_label(), asm.new_label());
    asm.jump_if(Cond::Ne, Reg::R0, Reg::R6, other);
    asm.load(Size::U64, Reg::R1, Reg::R0, offset("task_struct.group_leader"));
    asm.jump_if(Cond::Eq, Reg::R1, 0, other);
    // A program may keep the pointer as a number.
    asm.load_map_value(Reg::R2, 0, 0);
    asm.load(Size::U64, Reg::R7, Reg::R2, 0);
    asm.store(Size::U64, Reg::R2, 0, Reg::R0);
    asm.store(Size::U64, Reg::R2, 8, Reg::R7);
    asm.jump(end);
    asm.bind(other);
    asm.mov(Reg::R0, 0);
    asm.exit();
    asm.bind(end);
    allow(&mut asm);
    let program = load(asm, vec![results(16)]).expect("loads");
    for _ in 0..2 {
        assert_eq!(on_write(&program, b"", b"x"), Ok(1));
    }
    let (now, before) = (number(&program.maps()[0], 0), number(&program.maps()[0], 8));
    assert_eq!(now, before);
    assert!(now > 0xffff_8000_0000_0000, "{now:x}");
}

#[test]
fn a_task_can_be_the_key_of_a_map() {
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.store(Size::U64, Reg::R10, -8, Reg::R0);
    asm.store_imm(Size::U64, Reg::R10, -16, 5);
    asm.load_map(Reg::R1, 1);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -8);
    asm.mov(Reg::R3, Reg::R10);
    asm.alu(AluOp::Add, Reg::R3, -16);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::MAP_UPDATE_ELEM);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    let program = load(asm, vec![results(8), map("tasks", MapKind::Hash, 8, 8, 4)]).expect("loads");
    on_write(&program, b"", b"x").expect("runs");
    assert_eq!(program.maps()[1].entries().len(), 1);
}

#[test]
fn a_read_that_fails_fills_the_buffer_with_zeros() {
    for (address, helper, size, expected, kept) in [
        (0u64, helper_ids::PROBE_READ_KERNEL, 8, ERANGE, 0),
        (0x7fff_ffff_f000, helper_ids::PROBE_READ_KERNEL, 8, ERANGE, 0),
        (0x1234_0000_0000_0000, helper_ids::PROBE_READ_KERNEL_STR, 8, ERANGE, 0),
        (0xffff_ffff_ffff_f000, helper_ids::PROBE_READ_KERNEL, 4, EFAULT, 0xffff_ffff_0000_0000),
        (0xffff_ffff_ffff_f000, helper_ids::PROBE_READ_KERNEL, 0, 0, u64::MAX),
        (0xffff_8700_0000_0000, helper_ids::PROBE_READ_KERNEL, 8, EFAULT, 0),
        (0xffff_ffff_ff60_0000, helper_ids::PROBE_READ_KERNEL, 8, ERANGE, 0),
        (0xffff_ffff_ff60_0fff, helper_ids::PROBE_READ_KERNEL_STR, 8, ERANGE, 0),
        (0xfff, helper_ids::PROBE_READ_USER, 8, EFAULT, 0),
        (0x7fff_ffff_f000, helper_ids::PROBE_READ_USER, 8, EFAULT, 0),
        (0x1000, helper_ids::PROBE_READ_USER, 0, 0, u64::MAX),
        (0xfff, helper_ids::PROBE_READ_USER_STR, 8, EFAULT, 0),
    ] {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R3, address);
        probe_read(&mut asm, helper, size);
        allow(&mut asm);
        let program = load(asm, vec![results(16)]).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        let found = (number(&program.maps()[0], 0) as i64, number(&program.maps()[0], 8));
        assert_eq!(found, (expected, kept), "{address:x} {helper} {size}");
    }
}

#[test]
fn what_the_kernel_may_have_at_an_address_is_not_known() {
    for (address, helper, expected) in [
        (
            0xffff_8800_0000_0000u64,
            helper_ids::PROBE_READ_KERNEL,
            "the 8-byte read at 0xffff880000000000 is not modelled",
        ),
        (
            0xffff_ffff_8100_0000,
            helper_ids::PROBE_READ_KERNEL_STR,
            "the 1-byte read at 0xffffffff81000000 is not modelled",
        ),
        (0x1000, helper_ids::PROBE_READ_USER, "the 8-byte read at 0x1000 is not modelled"),
        (
            0x7fff_ffff_efff,
            helper_ids::PROBE_READ_USER_STR,
            "the 8-byte read at 0x7fffffffefff is not modelled",
        ),
    ] {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R3, address);
        probe_read(&mut asm, helper, 8);
        allow(&mut asm);
        let message = fault(asm, vec![results(16)]);
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn what_comes_after_the_members_that_the_model_has_is_not_known() {
    for after in [1024, 10_000] {
        let mut asm = Assembler::new();
        asm.call_helper(helper_ids::GET_CURRENT_TASK);
        asm.mov(Reg::R3, Reg::R0);
        asm.alu(AluOp::Add, Reg::R3, after);
        probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL, 8);
        allow(&mut asm);
        let message = fault(asm, vec![results(16)]);
        let expected = format!(", offset {after} of struct task_struct, is not modelled");
        assert!(message.ends_with(&expected), "{message}");
    }
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.load(Size::U64, Reg::R0, Reg::R0, 4096);
    allow(&mut asm);
    let rejection = load(asm, Vec::new()).expect_err("a rejection");
    assert_eq!(rejection.not_modelled().as_deref(), Some("8 bytes at offset 4096 of struct task_struct"));
}

#[test]
fn what_is_around_the_programs_own_memory_is_not_known() {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R3, 0, 12);
    probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL, 8);
    allow(&mut asm);
    let message = fault(asm, vec![results(16)]);
    assert!(message.contains("the result depends on an address"), "{message}");
}

#[test]
fn the_context_is_read_as_the_kernel_has_it() {
    for (path, expected) in
        [("bpf_sysctl_kern.cur_len", 3), ("bpf_sysctl_kern.new_len", 4), ("bpf_sysctl_kern.write", 1)]
    {
        let mut asm = Assembler::new();
        asm.mov(Reg::R3, Reg::R1);
        asm.alu(AluOp::Add, Reg::R3, i32::from(offset(path)));
        probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL, 4);
        allow(&mut asm);
        let program = load(asm, vec![results(16)]).expect("loads");
        on_write(&program, b"old", b"new\n").expect("runs");
        assert_eq!(number(&program.maps()[0], 8) as u32, expected, "{path}");
    }

    let mut asm = Assembler::new();
    asm.mov(Reg::R3, Reg::R1);
    asm.alu(AluOp::Add, Reg::R3, i32::from(offset("bpf_sysctl_kern.table")));
    probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL, 8);
    asm.load(Size::U64, Reg::R3, Reg::R10, -16);
    asm.alu(AluOp::Add, Reg::R3, i32::from(offset("ctl_table.procname")));
    probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL, 8);
    asm.load(Size::U64, Reg::R3, Reg::R10, -16);
    probe_read(&mut asm, helper_ids::PROBE_READ_KERNEL_STR, 16);
    allow(&mut asm);
    let program = load(asm, vec![results(16)]).expect("loads");
    on_write(&program, b"old", b"new\n").expect("runs");
    assert_eq!(number(&program.maps()[0], 0), 8);
    assert_eq!(number(&program.maps()[0], 8).to_le_bytes(), *b"tcp_mem\0");
}

#[test]
fn what_is_no_member_is_not_loaded() {
    for (off, size, expected) in [
        (offset("task_struct.group_leader") + 1, Size::U8, "access beyond struct task_struct"),
        (4096, Size::U64, "access beyond struct task_struct at off 4096 size 8"),
        (-8, Size::U64, "R0 is ptr_task_struct invalid negative access: off=-8"),
    ] {
        let mut asm = Assembler::new();
        asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
        asm.load(size, Reg::R0, Reg::R0, off);
        allow(&mut asm);
        let message = rejection(asm, Vec::new());
        assert!(message.contains(expected), "{message}");
    }
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.store_imm(Size::U32, Reg::R0, offset("task_struct.pid"), 1);
    allow(&mut asm);
    let message = rejection(asm, Vec::new());
    assert!(message.ends_with("only read is supported"), "{message}");
}

#[test]
fn pids_are_those_of_the_namespace_that_the_program_names() {
    let (device, inum) = (u64::from(Namespaces::default().device), u64::from(Namespaces::default().pid));
    for (device, inum, size, expected, ids) in [
        (device, inum, 8, 0, 7 << 32 | 8),
        (device, inum + 1, 8, EINVAL, 0),
        (device + 1, inum, 8, EINVAL, 0),
        (device | 1 << 32, inum, 8, EINVAL, 0),
        (device, inum, 4, EINVAL, 0xffff_ffff_0000_0000),
    ] {
        let mut asm = Assembler::new();
        asm.store_imm(Size::U64, Reg::R10, -8, -1);
        asm.load_imm64(Reg::R1, device);
        asm.load_imm64(Reg::R2, inum);
        asm.mov(Reg::R3, Reg::R10);
        asm.alu(AluOp::Add, Reg::R3, -8);
        asm.mov(Reg::R4, size);
        asm.call_helper(helper_ids::GET_NS_CURRENT_PID_TGID);
        keep(&mut asm, Reg::R0, 0);
        asm.load(Size::U64, Reg::R0, Reg::R10, -8);
        keep(&mut asm, Reg::R0, 8);
        allow(&mut asm);
        let program = load(asm, vec![results(16)]).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        let found = (number(&program.maps()[0], 0) as i64, number(&program.maps()[0], 8));
        assert_eq!(found, (expected, ids), "{device:x} {inum:x} {size}");
    }
}

#[test]
fn ids_in_a_pid_namespace_are_read_where_the_kernel_has_them() {
    let namespaces = Namespaces { pid: 4_026_533_000, ..Namespaces::default() };
    let mut process = Process::default().pid(5000).namespaces(namespaces);
    process.task.ns_ids = Some((1, 1));
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.load(Size::U64, Reg::R6, Reg::R0, offset("task_struct.thread_pid"));
    asm.load(Size::U32, Reg::R8, Reg::R6, offset("pid.level"));
    keep(&mut asm, Reg::R8, 0);
    let structs = kernel_structs(&Profile::LINUX_6_18);
    let second =
        offset("pid.numbers") + structs.iter().find(|of| of.name == "upid").expect("a struct").size as i16;
    asm.load(Size::U32, Reg::R8, Reg::R6, second);
    keep(&mut asm, Reg::R8, 8);
    asm.load(Size::U64, Reg::R6, Reg::R6, second + offset("upid.ns"));
    asm.load(Size::U32, Reg::R8, Reg::R6, offset("pid_namespace.ns.inum"));
    keep(&mut asm, Reg::R8, 16);
    allow(&mut asm);
    let program = load(asm, vec![results(24)]).expect("loads");
    let mut hook = Hook::default();
    let process = hook.spawn(hook.root(), process).expect("a process");
    run(&mut hook, process, &program);
    let kept = [0, 8, 16].map(|at| number(&program.maps()[0], at));
    assert_eq!(kept, [1, 1, 4_026_533_000]);
}

#[test]
fn a_struct_of_the_kernel_is_memory_for_helpers() {
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_TASK_BTF);
    asm.mov(Reg::R1, Reg::R0);
    asm.alu(AluOp::Add, Reg::R1, i32::from(offset("task_struct.comm")));
    asm.mov(Reg::R2, 16);
    asm.load_map_value(Reg::R3, 1, 0);
    asm.call_helper(helper_ids::STRNCMP);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    let program = load(asm, vec![results(8), super::frozen(b"tester\0")]).expect("loads");
    on_write(&program, b"", b"x").expect("runs");
    assert_eq!(number(&program.maps()[0], 0), 0);
}

#[test]
fn the_moved_context_is_only_an_address() {
    let mut asm = Assembler::new();
    asm.alu(AluOp::Add, Reg::R1, 4);
    asm.mov(Reg::R6, Reg::R1);
    asm.load(Size::U32, Reg::R0, Reg::R6, 0);
    asm.alu(AluOp::And, Reg::R0, 1);
    asm.exit();
    let message = rejection(asm, Vec::new());
    assert!(message.ends_with("dereference of modified ctx ptr R6 off=4 disallowed"), "{message}");
    let mut asm = Assembler::new();
    asm.mov(Reg::R6, Reg::R1);
    asm.alu(AluOp::Add, Reg::R6, 4);
    asm.alu(AluOp::Sub, Reg::R6, 4);
    asm.load(Size::U32, Reg::R6, Reg::R6, 0);
    keep(&mut asm, Reg::R6, 0);
    allow(&mut asm);
    assert_eq!(result(asm), 1);
}
