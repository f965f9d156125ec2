//! Helpers that any program has: text, events, queues, tasks, storage.

use std::sync::Arc;

use knobgate_bpf::{AluOp, Assembler, Cond, MapDef, MapKind, Program, Reg, Size, helper_ids};
use knobgate_hook::attach::Options;
use knobgate_hook::invocation::SentSignal;
use knobgate_hook::{
    Hook, Invocation, LoadOptions, LoadedProgram, Process, Profile, RunEnv, RunOptions, Task, TraceStep,
    Tracer,
};

use super::{allow, deny_null, frozen, keep, load, map, number, on_write, program, result, results};

#[test]
fn strncmp_compares_up_to_the_size() {
    for (left, size, right, expected) in [
        (&b"tcp_mem\0"[..], 8, &b"tcp_mem\0"[..], 0),
        (b"tcp_mem\0", 3, b"tcpx\0", 0),
        (b"a\0zzzzzz", 8, b"a\0", 0),
        (b"b\0zzzzzz", 8, b"a\0", 1),
        (b"a\0zzzzzz", 8, b"ab\0", -1),
        (b"\xffzzzzzzz", 8, b"a\0", 1),
    ] {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R1, u64::from_le_bytes(left.try_into().expect("eight bytes")));
        asm.store(Size::U64, Reg::R10, -8, Reg::R1);
        asm.mov(Reg::R1, Reg::R10);
        asm.alu(AluOp::Add, Reg::R1, -8);
        asm.mov(Reg::R2, size);
        asm.load_map_value(Reg::R3, 1, 0);
        asm.call_helper(helper_ids::STRNCMP);
        keep(&mut asm, Reg::R0, 0);
        allow(&mut asm);
        let program = load(asm, vec![results(8), frozen(right)]).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        assert_eq!(number(&program.maps()[0], 0) as i64, expected, "{left:?} {right:?}");
    }
}

/// Records a run.
#[derive(Default)]
struct Notes {
    steps: Vec<String>,
    printed: Vec<Vec<u8>>,
}

impl Tracer for Notes {
    fn instruction(&mut self, step: &TraceStep<'_>) {
        let r0 = step.register(Reg::R0);
        self.steps.push(format!("{} {}@{} {} r0={r0}", step.program, step.insn, step.depth, step.operation));
    }

    fn print(&mut self, text: &[u8]) {
        self.printed.push(text.to_vec());
    }
}

#[test]
fn a_tracer_sees_every_instruction_and_trace_printk() {
    let mut asm = Assembler::new();
    let function = asm.new_label();
    asm.load_imm64(Reg::R1, u64::from_le_bytes(*b"<%d>\n\0##"));
    asm.store(Size::U64, Reg::R10, -8, Reg::R1);
    asm.mov(Reg::R1, Reg::R10);
    asm.alu(AluOp::Add, Reg::R1, -8);
    asm.mov(Reg::R2, 8);
    asm.mov(Reg::R3, 42);
    asm.call_helper(helper_ids::TRACE_PRINTK);
    asm.call(function);
    asm.exit();
    asm.begin_function("one");
    asm.bind(function);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let program = load(asm, Vec::new()).expect("loads");
    let (task, profile, mut notes) = (Task::default(), Profile::LINUX_6_18, Notes::default());
    let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
    let mut options = RunOptions { tracer: Some(&mut notes), ..RunOptions::default() };
    assert_eq!(program.run(&mut invocation, &mut options), Ok(1));
    assert_eq!(notes.printed, [b"<42>\n"]);
    let last = &notes.steps[notes.steps.len() - 4..];
    assert_eq!(
        last,
        [
            "test 8@0 call pc+1 r0=5",
            "test 10@1 r0 = 1 r0=uninitialized",
            "test 11@1 exit r0=1",
            "test 9@0 exit r0=1"
        ]
    );
}

#[test]
fn a_percent_sign_in_a_format_is_no_argument() {
    let mut asm = Assembler::new();
    asm.load_imm64(Reg::R1, u64::from_le_bytes(*b"%%d\0####"));
    asm.store(Size::U64, Reg::R10, -8, Reg::R1);
    asm.mov(Reg::R1, Reg::R10);
    asm.alu(AluOp::Add, Reg::R1, -8);
    asm.mov(Reg::R2, 4);
    asm.call_helper(helper_ids::TRACE_PRINTK);
    allow(&mut asm);
    let program = load(asm, Vec::new()).expect("loads");
    let (task, profile, mut notes) = (Task::default(), Profile::LINUX_6_18, Notes::default());
    let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
    let mut options = RunOptions { tracer: Some(&mut notes), ..RunOptions::default() };
    assert_eq!(program.run(&mut invocation, &mut options), Ok(1));
    assert_eq!(notes.printed, [b"%d"]);
}

#[test]
fn events_go_to_the_index_or_the_processor() {
    for (flags, expected) in [(0u64, 0), (1, 0), (0xffff_ffff, 0), (5, -7), (1 << 32, -22)] {
        let mut asm = Assembler::new();
        asm.mov(Reg::R6, Reg::R1);
        asm.store_imm(Size::U64, Reg::R10, -8, 7);
        asm.load_map(Reg::R2, 1);
        asm.load_imm64(Reg::R3, flags);
        asm.mov(Reg::R4, Reg::R10);
        asm.alu(AluOp::Add, Reg::R4, -8);
        asm.mov(Reg::R5, 8);
        asm.call_helper(helper_ids::PERF_EVENT_OUTPUT);
        keep(&mut asm, Reg::R0, 0);
        allow(&mut asm);
        let maps = vec![results(8), map("events", MapKind::PerfEventArray, 4, 4, 2)];
        let program = load(asm, maps).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        assert_eq!(number(&program.maps()[0], 0) as i64, expected, "{flags:x}");
        let sent = program.maps()[1].drain_events();
        let index = if flags == 0xffff_ffff { 0 } else { flags as u32 };
        assert_eq!(sent, if expected == 0 { vec![(index, 7u64.to_le_bytes().to_vec())] } else { vec![] });
    }
}

#[test]
fn queues_and_stacks_return_what_was_pushed() {
    for (kind, order) in [(MapKind::Queue, [1, 2, 3]), (MapKind::Stack, [3, 2, 1])] {
        let mut asm = Assembler::new();
        for value in 1..=4 {
            asm.store_imm(Size::U64, Reg::R10, -8, value);
            asm.load_map(Reg::R1, 1);
            asm.mov(Reg::R2, Reg::R10);
            asm.alu(AluOp::Add, Reg::R2, -8);
            asm.mov(Reg::R3, 0);
            asm.call_helper(helper_ids::MAP_PUSH_ELEM);
        }
        keep(&mut asm, Reg::R0, 0);
        for (offset, helper) in [
            (8, helper_ids::MAP_PEEK_ELEM),
            (16, helper_ids::MAP_POP_ELEM),
            (24, helper_ids::MAP_POP_ELEM),
            (32, helper_ids::MAP_POP_ELEM),
            (40, helper_ids::MAP_POP_ELEM),
        ] {
            asm.load_map(Reg::R1, 1);
            asm.load_map_value(Reg::R2, 0, offset);
            asm.call_helper(helper);
        }
        keep(&mut asm, Reg::R0, 48);
        allow(&mut asm);
        let program = load(asm, vec![results(56), map("queue", kind, 0, 8, 3)]).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        let kept: Vec<i64> = (0..7).map(|index| number(&program.maps()[0], 8 * index) as i64).collect();
        assert_eq!(kept, [-7, order[0], order[0], order[1], order[2], 0, -2], "{kind:?}");
    }
}

#[test]
fn ring_buffers_hold_records_until_they_are_consumed() {
    let ring = || map("ring", MapKind::Ringbuf, 0, 0, 4096);
    let mut asm = Assembler::new();
    asm.store_imm(Size::U64, Reg::R10, -8, 99);
    asm.load_map(Reg::R1, 1);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -8);
    asm.mov(Reg::R3, 5);
    asm.mov(Reg::R4, 1);
    asm.call_helper(helper_ids::RINGBUF_OUTPUT);
    keep(&mut asm, Reg::R0, 0);
    for what in 0..5 {
        asm.load_map(Reg::R1, 1);
        asm.mov(Reg::R2, what);
        asm.call_helper(helper_ids::RINGBUF_QUERY);
        keep(&mut asm, Reg::R0, 8 + 8 * what as i16);
    }
    allow(&mut asm);
    let program = load(asm, vec![results(48), ring()]).expect("loads");
    on_write(&program, b"", b"x").expect("runs");
    let kept: Vec<u64> = (0..6).map(|index| number(&program.maps()[0], 8 * index)).collect();
    assert_eq!(kept, [0, 16, 4096, 0, 16, 0], "returned, waiting, size, consumed, produced, unknown");
    assert_eq!(program.maps()[1].drain_records(), [[99, 0, 0, 0, 0]]);

    let mut asm = Assembler::new();
    asm.load_map(Reg::R1, 1);
    asm.mov(Reg::R2, 4096);
    asm.mov(Reg::R3, 0);
    asm.call_helper(helper_ids::RINGBUF_RESERVE);
    let null = asm.new_label();
    asm.jump_if(Cond::Eq, Reg::R0, 0, null);
    asm.mov(Reg::R1, Reg::R0);
    asm.mov(Reg::R2, 0);
    asm.call_helper(helper_ids::RINGBUF_SUBMIT);
    asm.mov(Reg::R0, 0);
    asm.exit();
    asm.bind(null);
    allow(&mut asm);
    let program = load(asm, vec![results(8), ring()]).expect("loads");
    let returned = on_write(&program, b"", b"x");
    assert_eq!(returned, Ok(1), "with its header it is larger than all of the buffer");
}

/// Adds 1 to the value that r0 points to.
fn count(asm: &mut Assembler) {
    asm.load(Size::U64, Reg::R1, Reg::R0, 0);
    asm.alu(AluOp::Add, Reg::R1, 1);
    asm.store(Size::U64, Reg::R0, 0, Reg::R1);
}

fn run_on(program: &LoadedProgram, processor: u32) {
    let (task, profile) = (Task::default(), Profile::LINUX_6_18);
    let env = RunEnv { processor, ..RunEnv::default() };
    let mut options = RunOptions { env, ..RunOptions::default() };
    let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
    assert_eq!(program.run(&mut invocation, &mut options), Ok(1));
}

#[test]
fn each_processor_has_its_own_value() {
    for kind in [MapKind::PercpuArray, MapKind::PercpuHash, MapKind::LruPercpuHash] {
        let mut asm = Assembler::new();
        asm.store_imm(Size::U32, Reg::R10, -4, 0);
        asm.load_map(Reg::R1, 1);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -4);
        asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
        deny_null(&mut asm);
        count(&mut asm);
        asm.load_map(Reg::R1, 1);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -4);
        asm.mov(Reg::R3, 2);
        asm.call_helper(helper_ids::MAP_LOOKUP_PERCPU_ELEM);
        deny_null(&mut asm);
        asm.load(Size::U64, Reg::R6, Reg::R0, 0);
        keep(&mut asm, Reg::R6, 0);
        allow(&mut asm);
        let def: MapDef = map("counts", kind, 4, 8, 1);
        let options = LoadOptions { cpus: 3, ..LoadOptions::default() };
        let program =
            LoadedProgram::load(&program(asm, vec![results(8), def]), &Profile::LINUX_6_18, &options)
                .expect("loads");
        program.maps()[1].update(&[0; 4], &[0; 24], 0).expect("room");
        for processor in [1, 2, 1] {
            run_on(&program, processor);
        }
        let values: Vec<u64> = program.maps()[1]
            .lookup(&[0; 4])
            .expect("it is there")
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .collect();
        assert_eq!(values, [0, 2, 1], "{kind:?}");
        assert_eq!(number(&program.maps()[0], 0), 1, "{kind:?}");
    }
}

#[test]
fn every_attachment_has_its_own_storage() {
    for key_size in [8, 16] {
        let mut asm = Assembler::new();
        asm.load_map(Reg::R1, 0);
        asm.mov(Reg::R2, 0);
        asm.call_helper(helper_ids::GET_LOCAL_STORAGE);
        count(&mut asm);
        allow(&mut asm);
        let program = load(asm, vec![map("local", MapKind::CgroupStorage, key_size, 8, 0)]).expect("loads");
        let mut hook = Hook::default();
        let outer = hook.create_cgroup(hook.root(), "outer").expect("a new name");
        let inner = hook.create_cgroup(outer, "inner").expect("a new name");
        let id = hook.load_shared(Arc::new(program.clone()));
        hook.link(outer, id, Options::default()).expect("nothing is in the way");
        hook.link(inner, id, Options::default()).expect("nothing is in the way");
        for cgroup in [outer, inner, inner] {
            let process = hook.spawn(cgroup, Process::default()).expect("it is there");
            hook.read_knob(process, "kernel/ostype").expect("no fault");
        }
        let counted: Vec<(u64, u64)> = program.maps()[0]
            .entries()
            .iter()
            .map(|(key, value)| {
                let number = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes"));
                (number(key), number(value))
            })
            .collect();
        assert_eq!(counted, [(outer.number(), 3), (inner.number(), 2)]);
    }
}

#[test]
fn a_task_is_under_its_cgroup_and_all_ancestors() {
    let mut hook = Hook::default();
    let outer = hook.create_cgroup(hook.root(), "outer").expect("a new name");
    let inner = hook.create_cgroup(outer, "inner").expect("a new name");
    let other = hook.create_cgroup(hook.root(), "other").expect("a new name");
    for (index, expected) in [(0, 1), (1, 1), (2, 0), (3, -11), (4, -7)] {
        let mut asm = Assembler::new();
        asm.load_map(Reg::R1, 1);
        asm.mov(Reg::R2, index);
        asm.call_helper(helper_ids::CURRENT_TASK_UNDER_CGROUP);
        keep(&mut asm, Reg::R0, 0);
        allow(&mut asm);
        let maps = vec![results(8), map("cgroups", MapKind::CgroupArray, 4, 4, 4)];
        let program = load(asm, maps).expect("loads");
        for (index, cgroup) in [outer, inner, other].into_iter().enumerate() {
            program.maps()[1].set_cgroup(index as u32, Some(cgroup)).expect("there is room");
        }
        let id = hook.load_shared(Arc::new(program.clone()));
        let link = hook.link(inner, id, Options::default()).expect("nothing is in the way");
        let process = hook.spawn(inner, Process::default()).expect("it is there");
        hook.read_knob(process, "kernel/ostype").expect("no fault");
        assert_eq!(number(&program.maps()[0], 0) as i64, expected, "{index}");
        hook.detach_link(link).expect("it is there");
    }
}

#[test]
fn signals_are_recorded() {
    let mut sent = Vec::new();
    for (tgid, helper, signal, expected) in [
        (7, helper_ids::SEND_SIGNAL, 10, 0),
        (7, helper_ids::SEND_SIGNAL_THREAD, 64, 0),
        (7, helper_ids::SEND_SIGNAL, 65, -22),
        (1, helper_ids::SEND_SIGNAL, 10, -1),
    ] {
        let mut asm = Assembler::new();
        asm.mov(Reg::R1, signal);
        asm.call_helper(helper);
        keep(&mut asm, Reg::R0, 0);
        allow(&mut asm);
        let program = load(asm, vec![results(8)]).expect("loads");
        let (task, profile) = (Task { tgid, ..Task::default() }, Profile::LINUX_6_18);
        let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
        program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
        assert_eq!(number(&program.maps()[0], 0) as i64, expected);
        sent.append(&mut invocation.signals);
    }
    assert_eq!(
        sent,
        [SentSignal { number: 10, to_thread: false }, SentSignal { number: 64, to_thread: true }]
    );
}

#[test]
fn a_helper_that_is_not_modelled_is_rejected_where_the_kernel_does_not_have_it() {
    for (kernel, is_rejected) in [("6.12", true), ("6.18", false)] {
        let mut asm = Assembler::new();
        asm.call_helper(helper_ids::TASK_STORAGE_GET);
        allow(&mut asm);
        let profile = kernel.parse().expect("a profile");
        let result = LoadedProgram::load(&program(asm, Vec::new()), &profile, &LoadOptions::default());
        let rejection = result.expect_err("it is not loaded");
        assert_eq!(rejection.not_modelled().is_none(), is_rejected, "{rejection}");
    }
}

#[test]
fn an_address_as_a_number_is_not_modelled() {
    let mut asm = Assembler::new();
    asm.mov(Reg::R1, Reg::R10);
    asm.call_helper(helper_ids::GET_CURRENT_ANCESTOR_CGROUP_ID);
    allow(&mut asm);
    let program = load(asm, Vec::new()).expect("loads");
    let reason = on_write(&program, b"1\n", b"2\n").expect_err("a fault").reason;
    assert!(reason.is_not_modelled());
    assert_eq!(reason.to_string(), "r1 is the stack where bpf_get_current_ancestor_cgroup_id wants a number");
}

#[test]
fn gpl_only_helpers_need_a_compatible_license() {
    // Also those that are not modelled, and those that may sleep.
    for (helper, name) in [
        (helper_ids::TRACE_PRINTK, "bpf_trace_printk"),
        (helper_ids::TIMER_INIT, "bpf_timer_init"),
        (helper_ids::COPY_FROM_USER_TASK, "bpf_copy_from_user_task"),
    ] {
        let mut asm = Assembler::new();
        asm.call_helper(helper);
        allow(&mut asm);
        let program = Program { license: Some("MIT".to_owned()), ..program(asm, Vec::new()) };
        let rejected = LoadedProgram::load(&program, &Profile::LINUX_6_18, &LoadOptions::default());
        let message = rejected.expect_err("it is rejected").to_string();
        assert!(message.contains(&format!("non-GPL compatible program ({name})")), "{message}");
    }
}

#[test]
fn times_and_processors_are_those_of_the_environment() {
    let env = RunEnv::default();
    for (helper, expected) in [
        (helper_ids::KTIME_GET_NS, env.monotonic_ns),
        (helper_ids::KTIME_GET_COARSE_NS, env.monotonic_ns),
        (helper_ids::KTIME_GET_BOOT_NS, env.boot_ns),
        (helper_ids::KTIME_GET_TAI_NS, env.tai_ns),
        (helper_ids::JIFFIES64, env.jiffies),
        (helper_ids::GET_SMP_PROCESSOR_ID, 0),
        (helper_ids::GET_NUMA_NODE_ID, 0),
        (helper_ids::GET_CGROUP_CLASSID, 0),
        (helper_ids::GET_CURRENT_PID_TGID, 7 << 32 | 8),
        (helper_ids::GET_CURRENT_UID_GID, 10 << 32 | 9),
        (helper_ids::GET_CURRENT_CGROUP_ID, 300),
    ] {
        let mut asm = Assembler::new();
        asm.call_helper(helper);
        keep(&mut asm, Reg::R0, 0);
        allow(&mut asm);
        assert_eq!(result(asm), expected, "helper {helper}");
    }
}
