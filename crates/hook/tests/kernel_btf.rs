//! The types of another kernel: programs are linked for its layout, and the model's tasks have it.

use std::sync::Arc;

use knobgate_bpf::{Assembler, MemberType, Program, Reg, Size, StructDef, helper_ids, struct_btf};
use knobgate_hook::prelude::*;
use knobgate_hook::task_btf::kernel_structs;
use knobgate_hook::{
    Fault, Invocation, KernelBtf, KernelBtfError, LoadOptions, LoadedProgram, RunOptions, Task,
};

const LONG: MemberType = MemberType::Int { name: "long", size: 8, signed: true };

/// The BTF of a kernel that has the members of the model's structs in the opposite order, after one that the model does not have.
fn other_kernel() -> KernelBtf {
    let mut structs: Vec<StructDef> = Vec::new();
    for of in kernel_structs(&Profile::default()) {
        let mut members: Vec<_> = of.members.iter().map(|member| (member.name, member.of_type)).collect();
        members.push(("not_modelled", LONG));
        members.reverse();
        structs.push(StructDef::new(of.name, &members, &structs));
    }
    KernelBtf::read(&struct_btf(&structs)).expect("BTF")
}

/// The events of `monitor` about a write.
fn events(btf: Option<KernelBtf>) -> Vec<Vec<u8>> {
    let mut hook = Hook::default();
    if let Some(btf) = btf {
        hook.kernel = hook.kernel.btf(btf);
    }
    let service = hook.create_cgroup(hook.root(), "web.service").expect("a new cgroup");
    let monitor = include_bytes!("../../../examples/objects/monitor.bpf.o");
    let monitor = hook.attach_object(service, monitor).expect("attached");
    let shell = hook.spawn(service, Process::default().pid(700).comm("sh")).expect("a process");
    let shell = hook.process(shell).expect("it runs").clone();
    let process = Process::default().pid(701).comm("nginx").parent(shell);
    let process = hook.spawn(service, process).expect("a process");
    hook.write_sysctl(process, "kernel.domainname", "x").expect("written");
    monitor.map("events").expect("a map").drain_records()
}

#[test]
fn a_monitor_sees_the_same_in_every_layout() {
    let own = events(None);
    assert_eq!(own.len(), 1);
    assert!(own[0].starts_with(&[701_u32.to_le_bytes(), 700_u32.to_le_bytes()].concat()), "{own:x?}");
    assert_eq!(events(Some(other_kernel())), own);
}

#[test]
fn sizes_and_what_exists_are_those_of_the_kernel() -> Result<(), Error> {
    let mut hook = Hook::default();
    let btf = other_kernel();
    let size = btf.structs().get("task_struct").map(|of| of.size);
    hook.kernel = hook.kernel.btf(btf);
    let layout = hook.attach_object(hook.root(), include_bytes!("../../../examples/objects/layout.bpf.o"))?;
    let process = hook.spawn(hook.root(), Process::default())?;
    hook.read_sysctl(process, "kernel.domainname")?;
    assert_eq!(Some(layout.variable::<u32>("struct_size")?), size);
    // What is not in the BTF, the kernel does not have.
    for (name, expected) in [("pid_exists", 1_u32), ("missing_exists", 0), ("missing_struct_exists", 0)] {
        assert_eq!(layout.variable::<u32>(name)?, expected, "{name}");
    }
    Ok(())
}

/// A program for that kernel that gets the task in r0 and goes on.
fn program(helper: u32, go_on: impl FnOnce(&mut Assembler)) -> Program {
    let mut asm = Assembler::new();
    asm.call_helper(helper);
    go_on(&mut asm);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let kernel_structs = Some(Arc::clone(other_kernel().structs()));
    let license = Some("GPL".to_owned());
    Program { kernel_structs, license, ..asm.finish(false).expect("a program").into() }
}

#[test]
fn what_only_the_kernel_has_is_not_modelled() {
    let (profile, options) = (Profile::default(), LoadOptions::default());
    let typed = program(helper_ids::GET_CURRENT_TASK_BTF, |asm| asm.load(Size::U64, Reg::R1, Reg::R0, 0));
    let rejection = LoadedProgram::load(&typed, &profile, &options).expect_err("it is not modelled");
    assert_eq!(rejection.not_modelled().as_deref(), Some("8 bytes at offset 0 of struct task_struct"));

    let probes = program(helper_ids::GET_CURRENT_TASK, |asm| {
        asm.mov(Reg::R3, Reg::R0);
        asm.store_imm(Size::U64, Reg::R10, -8, 0);
        asm.mov(Reg::R1, Reg::R10);
        asm.alu(knobgate_bpf::AluOp::Add, Reg::R1, -8);
        asm.mov(Reg::R2, 8);
        asm.call_helper(helper_ids::PROBE_READ_KERNEL);
    });
    let probes = LoadedProgram::load(&probes, &profile, &options).expect("any address may be read");
    let task = Task::default();
    let mut invocation = Invocation::read("net/x", b"", &task, &profile);
    let Fault { reason, .. } = probes.run(&mut invocation, &mut RunOptions::default()).expect_err("a fault");
    assert!(reason.is_not_modelled());
    let message = reason.to_string();
    assert!(message.ends_with(", offset 0 of struct task_struct, is not modelled"), "{message}");
}

#[test]
fn what_is_no_btf_of_a_kernel_is_an_error() {
    let object = include_bytes!("../../../examples/objects/monitor.bpf.o");
    let cases = [
        (&b"text"[..], "it is neither BTF, as in /sys/kernel/btf/vmlinux, nor a 64-bit ELF file"),
        (&[0x9f, 0xeb, 1, 0], "its BTF cannot be used: it is cut short, or not of a version that is known"),
        (&struct_btf(&[]), "its BTF cannot be used: it has no struct task_struct"),
        (
            include_bytes!("../../../examples/objects/legacy.bpf.o"),
            "its BTF cannot be used: it has no struct task_struct",
        ),
    ];
    for (file, expected) in cases {
        let error = KernelBtf::read(file).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    // An object declares some members of the kernel's structs, which is enough to be taken for a kernel that has no others.
    assert!(KernelBtf::read(object).is_ok());
    assert_eq!(KernelBtf::read(&vec![0; KernelBtf::FILE_MAX + 1]), Err(KernelBtfError::TooLong));
}

#[test]
fn a_struct_without_room_is_an_error() {
    let large = MemberType::Array(&LONG, 1025);
    let structs = [StructDef::new("task_struct", &[], &[]), StructDef::new("net", &[("large", large)], &[])];
    let error = KernelBtf::read(&struct_btf(&structs)).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "its BTF cannot be used: its struct net takes 8200 bytes, which is too much"
    );
}

#[test]
fn no_btf_makes_a_run_panic() {
    let intact = struct_btf(kernel_structs(&Profile::default()));
    let object = Object::read(include_bytes!("../../../examples/objects/monitor.bpf.o")).expect("an object");
    let (mut random, mut ran) = (1_u64, 0);
    for _ in 0..400 {
        let mut btf = intact.clone();
        for _ in 0..2 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % btf.len();
            btf[at] = (random >> 20) as u8;
        }
        let Ok(types) = KernelBtf::read(&btf) else { continue };
        let kernel = ModelKernel::new(Profile::default()).btf(types);
        let Ok(program) = object.program_for(None, &kernel) else { continue };
        let (profile, options) = (Profile::default(), LoadOptions::default());
        let Ok(program) = LoadedProgram::load(&program, &profile, &options) else { continue };
        let task = Task { cgroups: vec![1, 2], ..Task::default() };
        let mut invocation = Invocation::write("net/x", b"1", b"2", &task, &profile);
        ran += usize::from(program.run(&mut invocation, &mut RunOptions::default()).is_ok());
    }
    assert!(ran > 20, "only {ran} ran");
}
