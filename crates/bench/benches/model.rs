//! The hook in user space: accesses and instructions per second, these next to rbpf's on the same bytes.
#![forbid(unsafe_code)]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use knobgate_bench::PolicyText;
use knobgate_bpf::{AluOp, Assembler, Cond, MapDef, Program, Reg, Size, encode, helper_ids};
use knobgate_hook::attach::Options;
use knobgate_hook::{Hook, Invocation, LoadOptions, LoadedProgram, Process, Profile, RunOptions, Task};
use rbpf::EbpfVmNoData;

/// How often the loops go round.
const ROUNDS: i32 = 10_000;

fn main() {
    divan::main();
}

/// Reads per second, past a policy of so many rules of which none has the name.
#[divan::bench(args = [1, 100, 10_000])]
fn reads_that_miss(bencher: Bencher<'_, '_>, rules: usize) {
    accesses(bencher, &PolicyText::of_literals(rules, "read write", ""));
}

/// Writes per second under a bound.
#[divan::bench]
fn writes_within_a_bound(bencher: Bencher<'_, '_>) {
    let policy = PolicyText::of_literals(1, "write", "")
        .with_rule("allow write net.core.somaxconn if 128 <= new <= 65535");
    let (mut hook, process) = hook(&policy);
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| hook.write_knob(process, black_box("net/core/somaxconn"), "4096\n"));
}

fn accesses(bencher: Bencher<'_, '_>, policy: &PolicyText) {
    let (mut hook, process) = hook(policy);
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| hook.read_knob(process, black_box("net/core/somaxconn")));
}

fn hook(policy: &PolicyText) -> (Hook, knobgate_hook::ProcessId) {
    let mut hook = Hook::default();
    let compiled =
        knobgate_compiler::compile(&policy.parsed(), &hook.profile().features()).expect("it compiles");
    let program = LoadedProgram::load(compiled.program(), hook.profile(), &LoadOptions::default());
    let program = hook.load_shared(Arc::new(program.expect("it is accepted")));
    let cgroup = hook.create_cgroup(hook.root(), "bench").expect("a cgroup");
    hook.link(cgroup, program, Options::default()).expect("a link");
    let process = hook.spawn(cgroup, Process::default()).expect("a process");
    (hook, process)
}

/// Instructions per second of the hook in user space.
#[divan::bench(args = LOOPS)]
fn ours(bencher: Bencher<'_, '_>, what: &Loop) {
    let profile = Profile::LINUX_6_18;
    let program = Program {
        name: "bench".to_owned(),
        ..Program::from((what.assemble)().finish(false).expect("short"))
    };
    let program = LoadedProgram::load(&program, &profile, &LoadOptions::default()).expect("it is accepted");
    let task = Task::default();
    bencher.counter(what.insns()).bench(|| {
        let mut access = Invocation::read("net/core/somaxconn", b"4096\n", &task, &profile);
        assert_eq!(program.run(&mut access, &mut RunOptions::default()).expect("no fault"), 1);
    });
}

/// Instructions per second of rbpf's interpreter.
#[divan::bench(args = LOOPS)]
fn rbpf(bencher: Bencher<'_, '_>, what: &Loop) {
    let code = encode(&(what.assemble)().finish(false).expect("short").insns);
    let machine = EbpfVmNoData::new(Some(&code)).expect("rbpf takes it");
    bencher.counter(what.insns()).bench_local(|| {
        assert_eq!(machine.execute_program().expect("no error"), 1);
    });
}

/// Calls of a helper per second.
#[divan::bench(args = [Called::GetCurrentUidGid, Called::GetCurrentComm, Called::ArrayLookup])]
fn helpers(bencher: Bencher<'_, '_>, called: Called) {
    let profile = Profile::LINUX_6_18;
    let program = called.program();
    let program = LoadedProgram::load(&program, &profile, &LoadOptions::default()).expect("it is accepted");
    let task = Task::default();
    bencher.counter(ItemsCount::new(ROUNDS as usize)).bench(|| {
        let mut access = Invocation::read("net/core/somaxconn", b"4096\n", &task, &profile);
        assert_eq!(program.run(&mut access, &mut RunOptions::default()).expect("no fault"), 1);
    });
}

#[derive(Debug, Clone, Copy)]
enum Called {
    GetCurrentUidGid,
    GetCurrentComm,
    ArrayLookup,
}

impl Called {
    fn program(self) -> Program {
        let body = |asm: &mut Assembler| match self {
            Self::GetCurrentUidGid => asm.call_helper(helper_ids::GET_CURRENT_UID_GID),
            Self::GetCurrentComm => {
                asm.mov(Reg::R1, Reg::R10);
                asm.alu(AluOp::Add, Reg::R1, -16);
                asm.mov(Reg::R2, 16);
                asm.call_helper(helper_ids::GET_CURRENT_COMM);
            }
            Self::ArrayLookup => {
                asm.store(Size::U32, Reg::R10, -4, Reg::R7);
                asm.load_map(Reg::R1, 0);
                asm.mov(Reg::R2, Reg::R10);
                asm.alu(AluOp::Add, Reg::R2, -4);
                asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
            }
        };
        let asm = counted(Reg::R6, |asm| asm.mov(Reg::R7, 0), body);
        let maps = match self {
            Self::ArrayLookup => vec![MapDef { frozen: false, ..MapDef::frozen_value("array", vec![0; 8]) }],
            _ => Vec::new(),
        };
        Program { name: "bench".to_owned(), maps, ..Program::from(asm.finish(false).expect("short")) }
    }
}

/// A loop that both can run.
struct Loop {
    name: &'static str,
    assemble: fn() -> Assembler,
    /// Instructions in a round.
    length: usize,
}

impl std::fmt::Display for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Loop {
    fn insns(&self) -> ItemsCount {
        ItemsCount::new(self.length * ROUNDS as usize)
    }
}

const LOOPS: [Loop; 2] = [
    Loop { name: "arithmetic", assemble: arithmetic, length: 6 },
    Loop { name: "memory", assemble: memory, length: 6 },
];

fn arithmetic() -> Assembler {
    rounds(|asm| {
        asm.alu(AluOp::Mul, Reg::R2, 31);
        asm.alu(AluOp::Add, Reg::R2, Reg::R1);
        asm.alu(AluOp::Rsh, Reg::R2, 1);
        asm.alu32(AluOp::Xor, Reg::R2, Reg::R1);
    })
}

fn memory() -> Assembler {
    rounds(|asm| {
        asm.store(Size::U64, Reg::R10, -8, Reg::R1);
        asm.load(Size::U64, Reg::R2, Reg::R10, -8);
        asm.store(Size::U8, Reg::R10, -16, Reg::R2);
        asm.load(Size::U8, Reg::R2, Reg::R10, -16);
    })
}

/// Goes round with r1 as the counter, and returns 1.
fn rounds(body: impl Fn(&mut Assembler)) -> Assembler {
    counted(Reg::R1, |asm| asm.mov(Reg::R2, 7), body)
}

fn counted(counter: Reg, start: impl Fn(&mut Assembler), body: impl Fn(&mut Assembler)) -> Assembler {
    let mut asm = Assembler::new();
    asm.mov(counter, 0);
    start(&mut asm);
    let again = asm.new_label();
    asm.bind(again);
    body(&mut asm);
    asm.alu(AluOp::Add, counter, 1);
    asm.jump_if(Cond::Lt, counter, ROUNDS, again);
    asm.mov(Reg::R0, 1);
    asm.exit();
    asm
}
