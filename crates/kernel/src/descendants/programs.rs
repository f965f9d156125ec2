//! The programs on the tracepoints.
//!
//! They share one hash, from the process id in the initial pid namespace to a
//! `struct { u32 location; u32 id; u64 start; }`: whether the process is [`INSIDE`] or [`OUTSIDE`], its id in the
//! observer's pid namespace, and when it was started, in nanoseconds since boot.

use std::os::fd::BorrowedFd;

use knobgate_bpf::{AsmError, Assembler, Cond, Label, Reg, Size, encode};

use crate::traced_records::{self, RecordDestination};
use crate::traced_tasks::{self, INITIAL_PID_NAMESPACE};
use crate::tracking_layout::TrackingLayout;

/// In the cgroup or below it.
pub(super) const INSIDE: u32 = 0;
/// In another cgroup, like everything that it starts there.
pub(super) const OUTSIDE: u32 = 1;
/// Not in the hash: not a descendant.
const UNKNOWN: u32 = 2;

/// The kinds of records: the process left, or was started by one that had.
pub(super) const LEFT: u32 = 1;
pub(super) const STARTED_OUTSIDE: u32 = 2;

/// The sizes of a key and a value of the hash, and of a record.
pub(super) const KEY: u32 = 4;
pub(super) const VALUE: u32 = 16;
pub(super) const RECORD: usize = 48;

/// Stack slots of the main functions.
const KEY_AT: i16 = -8;
const OTHER_KEY_AT: i16 = -4;
const SCRATCH_AT: i16 = -16;
const VALUE_AT: i16 = SCRATCH_AT - VALUE as i16;
const RECORD_AT: i16 = VALUE_AT - RECORD as i16;

/// What the programs are generated from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) layout: TrackingLayout,
    /// The hash.
    pub(super) processes: BorrowedFd<'a>,
    pub(super) records: RecordDestination<'a>,
    /// The id of the tracked cgroup.
    pub(super) cgroup: u64,
    /// The id of the observer's pid namespace.
    pub(super) namespace: u32,
    /// Whether processes that are started outside get records, too.
    pub(super) all: bool,
}

impl Context<'_> {
    /// For `sched_process_fork(parent, child)`, which fires before the child runs. With `CLONE_INTO_CGROUP`, the child
    /// is in another cgroup than its parent, and `cgroup_attach_task` does not fire.
    pub(super) fn on_fork(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let (known, moved, away, update, out) =
            (emitter.label(), emitter.label(), emitter.label(), emitter.label(), emitter.label());
        let layout = self.layout;
        emitter.asm.load(Size::U64, Reg::R6, Reg::R1, 0);
        emitter.asm.load(Size::U64, Reg::R7, Reg::R1, 8);
        emitter.look_up(Reg::R6);
        layout.load_cgroup(&mut emitter.asm, Reg::R9, Reg::R7, SCRATCH_AT);
        layout.load_cgroup(&mut emitter.asm, Reg::R0, Reg::R6, SCRATCH_AT);
        let asm = &mut emitter.asm;
        asm.jump_if(Cond::Ne, Reg::R0, Reg::R9, moved);
        asm.jump_if(Cond::Ne, Reg::R8, UNKNOWN as i32, known);
        asm.jump(out);

        // In the cgroup of its parent. A new thread changes nothing.
        asm.bind(known);
        emitter.read(4, OTHER_KEY_AT, Reg::R7, layout.process);
        let asm = &mut emitter.asm;
        asm.load(Size::U32, Reg::R1, Reg::R10, KEY_AT);
        asm.load(Size::U32, Reg::R2, Reg::R10, OTHER_KEY_AT);
        asm.jump_if(Cond::Eq, Reg::R1, Reg::R2, out);
        asm.mov(Reg::R6, 0);
        asm.jump_if(Cond::Eq, Reg::R8, INSIDE as i32, update);
        asm.mov(Reg::R6, if self.all { STARTED_OUTSIDE as i32 } else { 0 });
        asm.jump(update);

        asm.bind(moved);
        asm.mov(Reg::R1, Reg::R9);
        asm.call(emitter.is_below);
        asm.jump_if(Cond::Eq, Reg::R0, 0, away);
        asm.mov(Reg::R8, INSIDE as i32);
        asm.mov(Reg::R6, 0);
        asm.jump(update);

        asm.bind(away);
        asm.jump_if(Cond::Eq, Reg::R8, UNKNOWN as i32, out);
        let left = emitter.label();
        let asm = &mut emitter.asm;
        asm.mov(Reg::R6, LEFT as i32);
        asm.jump_if(Cond::Eq, Reg::R8, INSIDE as i32, left);
        asm.mov(Reg::R6, if self.all { STARTED_OUTSIDE as i32 } else { 0 });
        asm.bind(left);
        asm.mov(Reg::R8, OUTSIDE as i32);

        emitter.update(update);
        emitter.end(out)
    }

    /// For `cgroup_attach_task(cgroup, path, task, threadgroup)`, which fires after the task was moved.
    pub(super) fn on_attach(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let (away, update, out) = (emitter.label(), emitter.label(), emitter.label());
        emitter.asm.load(Size::U64, Reg::R6, Reg::R1, 0);
        emitter.asm.load(Size::U64, Reg::R7, Reg::R1, 16);
        self.layout.jump_if_v1(&mut emitter.asm, (Reg::R7, Reg::R6, Reg::R8), out, SCRATCH_AT);
        emitter.asm.mov(Reg::R9, Reg::R6);
        emitter.look_up(Reg::R7);
        let asm = &mut emitter.asm;
        asm.mov(Reg::R1, Reg::R9);
        asm.call(emitter.is_below);
        asm.jump_if(Cond::Eq, Reg::R0, 0, away);
        asm.jump_if(Cond::Eq, Reg::R8, INSIDE as i32, out);
        asm.mov(Reg::R8, INSIDE as i32);
        asm.mov(Reg::R6, 0);
        asm.jump(update);

        asm.bind(away);
        asm.jump_if(Cond::Ne, Reg::R8, INSIDE as i32, out);
        asm.mov(Reg::R8, OUTSIDE as i32);
        asm.mov(Reg::R6, LEFT as i32);

        emitter.update(update);
        emitter.end(out)
    }

    /// For `sched_process_exit(task)`, which fires for every thread.
    pub(super) fn on_exit(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let out = emitter.label();
        let layout = self.layout;
        emitter.asm.load(Size::U64, Reg::R7, Reg::R1, 0);
        layout.jump_if_alive(&mut emitter.asm, Reg::R7, out, KEY_AT, SCRATCH_AT);
        emitter.read(4, KEY_AT, Reg::R7, layout.process);
        traced_records::delete(&mut emitter.asm, self.processes, KEY_AT);
        traced_records::return_zero(&mut emitter.asm, out);
        Ok(encode(&emitter.asm.finish(false)?.insns))
    }
}

/// Emits one program.
struct Emitter<'a> {
    asm: Assembler,
    context: &'a Context<'a>,
    /// A subprogram: whether a cgroup is the tracked one or below it.
    is_below: Label,
    /// A subprogram: the id of a task's process in the observer's pid namespace, or 0.
    id_of: Label,
}

impl<'a> Emitter<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        let mut asm = Assembler::new();
        let (is_below, id_of) = (asm.new_label(), asm.new_label());
        Self { asm, context, is_below, id_of }
    }

    fn label(&mut self) -> Label {
        self.asm.new_label()
    }

    fn read(&mut self, size: i32, at: i16, base: Reg, offset: u32) {
        traced_tasks::read(&mut self.asm, size, at, base, offset);
    }

    fn follow(&mut self, dst: Reg, base: Reg, offset: u32) {
        traced_tasks::follow(&mut self.asm, dst, base, offset, SCRATCH_AT);
    }

    /// Loads the location of the task's process into R8.
    fn look_up(&mut self, task: Reg) {
        let unknown = self.label();
        self.read(4, KEY_AT, task, self.context.layout.process);
        traced_records::look_up(&mut self.asm, self.context.processes, KEY_AT);
        self.asm.mov(Reg::R8, UNKNOWN as i32);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, unknown);
        self.asm.load(Size::U32, Reg::R8, Reg::R0, 0);
        self.asm.bind(unknown);
    }

    /// Stores location R8 for the process of task R7. If R6 is not 0, sends a record of that kind, with cgroup R9.
    fn update(&mut self, here: Label) {
        self.asm.bind(here);
        let (stored, done) = (self.label(), self.label());
        let layout = self.context.layout;
        self.read(4, KEY_AT, Reg::R7, layout.process);
        self.asm.mov(Reg::R1, Reg::R7);
        self.asm.call(self.id_of);
        self.asm.store(Size::U32, Reg::R10, VALUE_AT, Reg::R8);
        self.asm.store(Size::U32, Reg::R10, VALUE_AT + 4, Reg::R0);
        self.follow(Reg::R0, Reg::R7, layout.leader);
        self.read(8, VALUE_AT + 8, Reg::R0, layout.start);
        // Another copy of this program may have done this already.
        let differs = self.label();
        traced_records::look_up(&mut self.asm, self.context.processes, KEY_AT);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, differs);
        self.asm.load(Size::U64, Reg::R1, Reg::R0, 8);
        self.asm.load(Size::U64, Reg::R2, Reg::R10, VALUE_AT + 8);
        self.asm.jump_if(Cond::Ne, Reg::R1, Reg::R2, differs);
        self.asm.load(Size::U32, Reg::R1, Reg::R0, 0);
        self.asm.jump_if(Cond::Eq, Reg::R1, Reg::R8, done);
        self.asm.bind(differs);
        traced_records::update(&mut self.asm, self.context.processes, KEY_AT, VALUE_AT, 0);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, stored);
        self.context.records.count_lost(&mut self.asm);
        self.asm.bind(stored);
        self.asm.jump_if(Cond::Eq, Reg::R6, 0, done);

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
        self.context.records.send(&mut self.asm, RECORD_AT, RECORD);
        self.asm.bind(done);
    }

    /// Ends the main function and emits the subprograms.
    fn end(mut self, out: Label) -> Result<Vec<u8>, AsmError> {
        traced_records::return_zero(&mut self.asm, out);
        self.is_below();
        self.id_of();
        Ok(encode(&self.asm.finish(false)?.insns))
    }

    fn is_below(&mut self) {
        let layout = self.context.layout;
        let (next, found, none) = (self.label(), self.label(), self.label());
        self.asm.begin_function("is_below");
        self.asm.bind(self.is_below);
        self.asm.mov(Reg::R6, Reg::R1);
        self.asm.mov(Reg::R7, 0);
        self.asm.bind(next);
        self.follow(Reg::R0, Reg::R6, layout.node);
        self.follow(Reg::R0, Reg::R0, layout.node_id);
        self.asm.load_imm64(Reg::R1, self.context.cgroup);
        self.asm.jump_if(Cond::Eq, Reg::R0, Reg::R1, found);
        layout.climb(&mut self.asm, (next, none), SCRATCH_AT);
        self.asm.bind(none);
        self.asm.mov(Reg::R0, 0);
        self.asm.exit();
        self.asm.bind(found);
        self.asm.mov(Reg::R0, 1);
        self.asm.exit();
    }

    fn id_of(&mut self) {
        let layout = self.context.layout;
        self.asm.begin_function("id_of");
        self.asm.bind(self.id_of);
        if self.context.namespace == INITIAL_PID_NAMESPACE {
            // It is the key. Searching for it would double the time of the verifier.
            self.read(4, VALUE_AT, Reg::R1, layout.process);
            self.asm.load(Size::U32, Reg::R0, Reg::R10, VALUE_AT);
            self.asm.exit();
            return;
        }
        self.follow(Reg::R6, Reg::R1, layout.leader);
        layout.numbers().return_number(&mut self.asm, self.context.namespace, VALUE_AT, SCRATCH_AT);
    }
}
