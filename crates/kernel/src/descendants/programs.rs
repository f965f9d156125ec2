//! The programs on the tracepoints.
//!
//! All of them use one hash, from the process id in the first pid namespace to a `struct { u32 location; u32 id; u64 start; }`: whether
//! the process is [`INSIDE`] or [`OUTSIDE`], its id in the namespace of whoever watches, and when it was started, in nanoseconds
//! since the machine was. What they read of the kernel's memory
//! they read by `bpf_probe_read_kernel`, which gives zeros for what cannot be read.

use std::os::fd::{AsRawFd, BorrowedFd};

use knobgate_bpf::{AluOp, AsmError, Assembler, Cond, Imm64, Insn, Label, Reg, Size, encode, helper_ids};

use super::layout::Layout;

/// In the cgroup or below.
pub(super) const INSIDE: u32 = 0;
/// Elsewhere, as is whatever is started from there.
pub(super) const OUTSIDE: u32 = 1;
/// No process of ours; not in the hash.
const UNKNOWN: u32 = 2;

/// A record says of a process that it left by itself, or that one started it that had left.
pub(super) const LEFT: u32 = 1;
pub(super) const STARTED_OUTSIDE: u32 = 2;

/// The sizes of a key and a value of the hash, and of a record.
pub(super) const KEY: u32 = 4;
pub(super) const VALUE: u32 = 16;
pub(super) const RECORD: usize = 48;

/// How far up from a cgroup the one that is watched is looked for. What is deeper counts as outside. (The verifier follows every
/// step, and compares it with all before.)
const LEVELS: i32 = 128;
/// `MAX_PID_NS_LEVEL` in include/linux/pid_namespace.h
const PID_NAMESPACES: i32 = 32;
/// The id of the first pid namespace: `PROC_PID_INIT_INO` in include/linux/proc_ns.h
const FIRST_PID_NAMESPACE: u32 = 0xefff_fffc;

/// Places on the stack of the main functions.
const KEY_AT: i16 = -8;
const OTHER_KEY_AT: i16 = -4;
const SCRATCH_AT: i16 = -16;
const VALUE_AT: i16 = SCRATCH_AT - VALUE as i16;
const RECORD_AT: i16 = VALUE_AT - RECORD as i16;

/// What the programs refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refers<'a> {
    pub(super) layout: Layout,
    /// The hash.
    pub(super) processes: BorrowedFd<'a>,
    /// The ring buffer of the records.
    pub(super) records: BorrowedFd<'a>,
    /// An array with one number: how often there was no room in one of these.
    pub(super) lost: BorrowedFd<'a>,
    /// The id of the cgroup.
    pub(super) cgroup: u64,
    /// The id of the pid namespace in which processes are named.
    pub(super) namespace: u32,
    /// Whether there are records of what is started outside, too.
    pub(super) all: bool,
}

impl Refers<'_> {
    /// For `sched_process_fork(parent, child)`, which is passed before the child runs. A child is somewhere else than its parent
    /// if it was started with `CLONE_INTO_CGROUP`, which `cgroup_attach_task` says nothing of.
    pub(super) fn on_fork(&self) -> Result<Vec<u8>, AsmError> {
        let mut writer = Writer::new(self);
        let (known, moved, away, note, out) =
            (writer.label(), writer.label(), writer.label(), writer.label(), writer.label());
        let layout = self.layout;
        writer.asm.load(Size::U64, Reg::R6, Reg::R1, 0);
        writer.asm.load(Size::U64, Reg::R7, Reg::R1, 8);
        writer.look_up(Reg::R6);
        writer.cgroup_of(Reg::R9, Reg::R7);
        writer.cgroup_of(Reg::R0, Reg::R6);
        let asm = &mut writer.asm;
        asm.jump_if(Cond::Ne, Reg::R0, Reg::R9, moved);
        asm.jump_if(Cond::Ne, Reg::R8, UNKNOWN as i32, known);
        asm.jump(out);

        // Beside its parent. A new thread changes nothing.
        asm.bind(known);
        writer.read(4, OTHER_KEY_AT, Reg::R7, layout.process);
        let asm = &mut writer.asm;
        asm.load(Size::U32, Reg::R1, Reg::R10, KEY_AT);
        asm.load(Size::U32, Reg::R2, Reg::R10, OTHER_KEY_AT);
        asm.jump_if(Cond::Eq, Reg::R1, Reg::R2, out);
        asm.mov(Reg::R6, 0);
        asm.jump_if(Cond::Eq, Reg::R8, INSIDE as i32, note);
        asm.mov(Reg::R6, if self.all { STARTED_OUTSIDE as i32 } else { 0 });
        asm.jump(note);

        asm.bind(moved);
        asm.mov(Reg::R1, Reg::R9);
        asm.call(writer.is_below);
        asm.jump_if(Cond::Eq, Reg::R0, 0, away);
        asm.mov(Reg::R8, INSIDE as i32);
        asm.mov(Reg::R6, 0);
        asm.jump(note);

        asm.bind(away);
        asm.jump_if(Cond::Eq, Reg::R8, UNKNOWN as i32, out);
        let left = writer.label();
        let asm = &mut writer.asm;
        asm.mov(Reg::R6, LEFT as i32);
        asm.jump_if(Cond::Eq, Reg::R8, INSIDE as i32, left);
        asm.mov(Reg::R6, if self.all { STARTED_OUTSIDE as i32 } else { 0 });
        asm.bind(left);
        asm.mov(Reg::R8, OUTSIDE as i32);

        writer.note(note);
        writer.end(out)
    }

    /// For `cgroup_attach_task(cgroup, path, task, threadgroup)`, which is passed when the task is there.
    pub(super) fn on_attach(&self) -> Result<Vec<u8>, AsmError> {
        let mut writer = Writer::new(self);
        let (away, note, out) = (writer.label(), writer.label(), writer.label());
        writer.asm.load(Size::U64, Reg::R6, Reg::R1, 0);
        writer.asm.load(Size::U64, Reg::R7, Reg::R1, 16);
        // Else it was moved in a hierarchy of version 1. (The task is the first thread, which stays where it was if it has ended.)
        writer.cgroup_of(Reg::R8, Reg::R7);
        writer.follow(Reg::R8, Reg::R8, self.layout.root);
        writer.follow(Reg::R0, Reg::R6, self.layout.root);
        writer.asm.jump_if(Cond::Ne, Reg::R0, Reg::R8, out);
        writer.asm.mov(Reg::R9, Reg::R6);
        writer.look_up(Reg::R7);
        let asm = &mut writer.asm;
        asm.mov(Reg::R1, Reg::R9);
        asm.call(writer.is_below);
        asm.jump_if(Cond::Eq, Reg::R0, 0, away);
        asm.jump_if(Cond::Eq, Reg::R8, INSIDE as i32, out);
        asm.mov(Reg::R8, INSIDE as i32);
        asm.mov(Reg::R6, 0);
        asm.jump(note);

        asm.bind(away);
        asm.jump_if(Cond::Ne, Reg::R8, INSIDE as i32, out);
        asm.mov(Reg::R8, OUTSIDE as i32);
        asm.mov(Reg::R6, LEFT as i32);

        writer.note(note);
        writer.end(out)
    }

    /// For `sched_process_exit(task)`, which every thread passes.
    pub(super) fn on_exit(&self) -> Result<Vec<u8>, AsmError> {
        let mut writer = Writer::new(self);
        let out = writer.label();
        let layout = self.layout;
        writer.asm.load(Size::U64, Reg::R7, Reg::R1, 0);
        writer.follow(Reg::R0, Reg::R7, layout.signals);
        writer.read(4, KEY_AT, Reg::R0, layout.live);
        writer.asm.load(Size::U32, Reg::R1, Reg::R10, KEY_AT);
        writer.asm.jump_if(Cond::Ne, Reg::R1, 0, out);
        writer.read(4, KEY_AT, Reg::R7, layout.process);
        writer.map(Reg::R1, self.processes);
        writer.stack_address(Reg::R2, KEY_AT);
        writer.asm.call_helper(helper_ids::MAP_DELETE_ELEM);
        writer.asm.bind(out);
        writer.asm.mov(Reg::R0, 0);
        writer.asm.exit();
        Ok(encode(&writer.asm.finish(false)?.insns))
    }
}

/// Writes one program.
struct Writer<'a> {
    asm: Assembler,
    refers: &'a Refers<'a>,
    /// A function: whether a cgroup is the one that is watched, or below it.
    is_below: Label,
    /// A function: the id of a task's process in the namespace of whoever watches, or 0.
    id_of: Label,
}

impl<'a> Writer<'a> {
    fn new(refers: &'a Refers<'a>) -> Self {
        let mut asm = Assembler::new();
        let (is_below, id_of) = (asm.new_label(), asm.new_label());
        Self { asm, refers, is_below, id_of }
    }

    fn label(&mut self) -> Label {
        self.asm.new_label()
    }

    fn stack_address(&mut self, dst: Reg, at: i16) {
        self.asm.mov(dst, Reg::R10);
        self.asm.alu(AluOp::Add, dst, i32::from(at));
    }

    fn map(&mut self, dst: Reg, map: BorrowedFd<'_>) {
        for insn in Insn::load_imm64(dst, Imm64::Map { fd: map.as_raw_fd() }) {
            self.asm.emit(insn);
        }
    }

    /// Reads `size` bytes of the kernel's memory, `offset` behind `base`, to a place on the stack. R0 to R5 are gone then.
    fn read(&mut self, size: i32, at: i16, base: Reg, offset: u32) {
        self.asm.mov(Reg::R3, base);
        self.asm.alu(AluOp::Add, Reg::R3, offset as i32);
        self.stack_address(Reg::R1, at);
        self.asm.mov(Reg::R2, size);
        self.asm.call_helper(helper_ids::PROBE_READ_KERNEL);
    }

    /// Reads a pointer.
    fn follow(&mut self, dst: Reg, base: Reg, offset: u32) {
        self.read(8, SCRATCH_AT, base, offset);
        self.asm.load(Size::U64, dst, Reg::R10, SCRATCH_AT);
    }

    /// The cgroup of version 2 that a task is in.
    fn cgroup_of(&mut self, dst: Reg, task: Reg) {
        let layout = self.refers.layout;
        self.follow(dst, task, layout.cgroups);
        self.follow(dst, dst, layout.default_cgroup);
    }

    /// Puts into R8 where the process of this task is, as far as is known.
    fn look_up(&mut self, task: Reg) {
        let unknown = self.label();
        self.read(4, KEY_AT, task, self.refers.layout.process);
        self.map(Reg::R1, self.refers.processes);
        self.stack_address(Reg::R2, KEY_AT);
        self.asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
        self.asm.mov(Reg::R8, UNKNOWN as i32);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, unknown);
        self.asm.load(Size::U32, Reg::R8, Reg::R0, 0);
        self.asm.bind(unknown);
    }

    /// Keeps that the process of the task R7 is where R8 says. If R6 is not 0, there is a record with that, of the cgroup R9.
    fn note(&mut self, here: Label) {
        self.asm.bind(here);
        let (kept, told) = (self.label(), self.label());
        let layout = self.refers.layout;
        self.read(4, KEY_AT, Reg::R7, layout.process);
        self.asm.mov(Reg::R1, Reg::R7);
        self.asm.call(self.id_of);
        self.asm.store(Size::U32, Reg::R10, VALUE_AT, Reg::R8);
        self.asm.store(Size::U32, Reg::R10, VALUE_AT + 4, Reg::R0);
        self.follow(Reg::R0, Reg::R7, layout.leader);
        self.read(8, VALUE_AT + 8, Reg::R0, layout.start);
        // Another copy of this program may have done all of it.
        let unlike = self.label();
        self.map(Reg::R1, self.refers.processes);
        self.stack_address(Reg::R2, KEY_AT);
        self.asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, unlike);
        self.asm.load(Size::U64, Reg::R1, Reg::R0, 8);
        self.asm.load(Size::U64, Reg::R2, Reg::R10, VALUE_AT + 8);
        self.asm.jump_if(Cond::Ne, Reg::R1, Reg::R2, unlike);
        self.asm.load(Size::U32, Reg::R1, Reg::R0, 0);
        self.asm.jump_if(Cond::Eq, Reg::R1, Reg::R8, told);
        self.asm.bind(unlike);
        self.map(Reg::R1, self.refers.processes);
        self.stack_address(Reg::R2, KEY_AT);
        self.stack_address(Reg::R3, VALUE_AT);
        self.asm.mov(Reg::R4, 0);
        self.asm.call_helper(helper_ids::MAP_UPDATE_ELEM);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, kept);
        self.count_lost();
        self.asm.bind(kept);
        self.asm.jump_if(Cond::Eq, Reg::R6, 0, told);

        self.follow(Reg::R0, Reg::R9, layout.node);
        self.read(8, RECORD_AT, Reg::R0, layout.node_id);
        self.read(16, RECORD_AT + 8, Reg::R7, layout.name);
        for (at, from) in [(24, KEY_AT), (28, VALUE_AT + 4)] {
            self.asm.load(Size::U32, Reg::R1, Reg::R10, from);
            self.asm.store(Size::U32, Reg::R10, RECORD_AT + at, Reg::R1);
        }
        self.asm.load(Size::U64, Reg::R1, Reg::R10, VALUE_AT + 8);
        self.asm.store(Size::U64, Reg::R10, RECORD_AT + 32, Reg::R1);
        self.asm.store(Size::U64, Reg::R10, RECORD_AT + 40, Reg::R6);
        self.map(Reg::R1, self.refers.records);
        self.stack_address(Reg::R2, RECORD_AT);
        self.asm.mov(Reg::R3, RECORD as i32);
        self.asm.mov(Reg::R4, 0);
        self.asm.call_helper(helper_ids::RINGBUF_OUTPUT);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, told);
        self.count_lost();
        self.asm.bind(told);
    }

    fn count_lost(&mut self) {
        let fd = self.refers.lost.as_raw_fd();
        for insn in Insn::load_imm64(Reg::R1, Imm64::MapValue { fd, offset: 0 }) {
            self.asm.emit(insn);
        }
        self.asm.mov(Reg::R2, 1);
        self.asm.atomic_add(Size::U64, Reg::R1, 0, Reg::R2);
    }

    /// Ends the main function and writes the others.
    fn end(mut self, out: Label) -> Result<Vec<u8>, AsmError> {
        self.asm.bind(out);
        self.asm.mov(Reg::R0, 0);
        self.asm.exit();
        self.is_below();
        self.id_of();
        Ok(encode(&self.asm.finish(false)?.insns))
    }

    fn is_below(&mut self) {
        let layout = self.refers.layout;
        let (next, found, none) = (self.label(), self.label(), self.label());
        self.asm.begin_function("is_below");
        self.asm.bind(self.is_below);
        self.asm.mov(Reg::R6, Reg::R1);
        self.asm.mov(Reg::R7, 0);
        self.asm.bind(next);
        self.follow(Reg::R0, Reg::R6, layout.node);
        self.follow(Reg::R0, Reg::R0, layout.node_id);
        self.asm.load_imm64(Reg::R1, self.refers.cgroup);
        self.asm.jump_if(Cond::Eq, Reg::R0, Reg::R1, found);
        self.follow(Reg::R6, Reg::R6, layout.above);
        self.asm.jump_if(Cond::Eq, Reg::R6, 0, none);
        // A state is a part of its cgroup.
        self.asm.alu(AluOp::Sub, Reg::R6, layout.state as i32);
        self.asm.alu(AluOp::Add, Reg::R7, 1);
        self.asm.jump_if(Cond::Lt, Reg::R7, LEVELS, next);
        self.asm.bind(none);
        self.asm.mov(Reg::R0, 0);
        self.asm.exit();
        self.asm.bind(found);
        self.asm.mov(Reg::R0, 1);
        self.asm.exit();
    }

    fn id_of(&mut self) {
        let layout = self.refers.layout;
        let (next, found, none) = (self.label(), self.label(), self.label());
        self.asm.begin_function("id_of");
        self.asm.bind(self.id_of);
        if self.refers.namespace == FIRST_PID_NAMESPACE {
            // What it is the key by. To look for it would take the verifier as long as all else.
            self.read(4, VALUE_AT, Reg::R1, layout.process);
            self.asm.load(Size::U32, Reg::R0, Reg::R10, VALUE_AT);
            self.asm.exit();
            return;
        }
        self.follow(Reg::R6, Reg::R1, layout.leader);
        self.follow(Reg::R6, Reg::R6, layout.thread_id);
        self.read(4, VALUE_AT, Reg::R6, layout.level);
        self.asm.load(Size::U32, Reg::R8, Reg::R10, VALUE_AT);
        self.asm.alu(AluOp::Add, Reg::R6, layout.numbers as i32);
        self.asm.mov(Reg::R7, 0);
        self.asm.bind(next);
        self.asm.jump_if(Cond::Gt, Reg::R7, Reg::R8, none);
        self.follow(Reg::R0, Reg::R6, layout.namespace);
        self.read(4, VALUE_AT, Reg::R0, layout.namespace_id);
        self.asm.load(Size::U32, Reg::R0, Reg::R10, VALUE_AT);
        self.asm.mov32(Reg::R1, self.refers.namespace.cast_signed());
        self.asm.jump_if(Cond::Eq, Reg::R0, Reg::R1, found);
        self.asm.alu(AluOp::Add, Reg::R6, layout.number_size as i32);
        self.asm.alu(AluOp::Add, Reg::R7, 1);
        self.asm.jump_if(Cond::Le, Reg::R7, PID_NAMESPACES, next);
        self.asm.bind(none);
        self.asm.mov(Reg::R0, 0);
        self.asm.exit();
        self.asm.bind(found);
        self.read(4, VALUE_AT, Reg::R6, layout.number);
        self.asm.load(Size::U32, Reg::R0, Reg::R10, VALUE_AT);
        self.asm.exit();
    }
}
