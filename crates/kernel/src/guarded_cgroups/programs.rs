//! The programs on the tracepoints.
//!
//! They share a hash of the guarded cgroups, and one of the processes in these: from the id in the observer's pid namespace
//! to the innermost guarded cgroup that the process is in, and when it was started, in ticks of `/proc`.

use std::os::fd::BorrowedFd;

use knobgate_bpf::{AluOp, AsmError, Assembler, Cond, Label, Reg, Size, encode, helper_ids};

use super::records::{
    ENTERED, GUARDED, KIND, MOVED, MOVER, MOVER_CGROUP, MOVER_NAME, MOVER_TICKS, MOVER_UID, NAME, PROCESS,
    RECORD, STARTED, THREAD, TICKS, TO, VALUE,
};
use crate::traced_records::{self, RecordDestination};
use crate::traced_tasks::{self, INITIAL_PID_NAMESPACE};
use crate::tracking_layout::TrackingLayout;

/// The size of a key of the tasks that were started elsewhere: `struct { u64 ticks; u64 task; }`.
pub(super) const STARTED_KEY: u32 = 16;

/// What stands for a cgroup below more than these.
const TOO_DEEP: i32 = -1;

/// `BPF_NOEXIST`: only if the key is new.
const NOEXIST: i32 = 1;

/// Stack slots of the main functions.
const SCRATCH_AT: i16 = -8;
const KEY_AT: i16 = -12;
const ALONE_AT: i16 = -16;
const VALUE_AT: i16 = -16 - VALUE as i16;
const TICKS_AT: i16 = VALUE_AT + 8;
const STARTED_KEY_AT: i16 = VALUE_AT - STARTED_KEY as i16;
const RECORD_AT: i16 = STARTED_KEY_AT - RECORD as i16;

/// What the programs are generated from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) layout: TrackingLayout,
    /// The ids of the guarded cgroups: a hash.
    pub(super) guarded: BorrowedFd<'a>,
    /// The processes in these: a hash.
    pub(super) processes: BorrowedFd<'a>,
    /// The tasks that were started in another cgroup than their parent: an LRU hash.
    pub(super) started: BorrowedFd<'a>,
    /// An array with one number: the id of the guarded cgroup whose processes are being listed, or 0. Then new ones cannot
    /// rely on their parent.
    pub(super) listing: BorrowedFd<'a>,
    pub(super) records: RecordDestination<'a>,
    /// The id of the observer's pid namespace.
    pub(super) namespace: u32,
    /// What `/proc` adds to the start of a process, in nanoseconds.
    pub(super) time_offset: i64,
    /// The length of a tick, in nanoseconds.
    pub(super) tick: i32,
}

impl Context<'_> {
    /// For `cgroup_attach_task(cgroup, path, task, threadgroup)`, which fires after the task was moved, and while that holds
    /// `cgroup_mutex`.
    pub(super) fn on_attach(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let (sent, out) = (emitter.label(), emitter.label());
        let (entered, known) = (emitter.label(), emitter.label());
        emitter.asm.load(Size::U64, Reg::R8, Reg::R1, 0);
        emitter.asm.load(Size::U64, Reg::R7, Reg::R1, 16);
        emitter.asm.load(Size::U64, Reg::R6, Reg::R1, 24);
        // One thread, and not the whole process.
        emitter.asm.alu(AluOp::And, Reg::R6, 0xff);
        emitter.asm.alu(AluOp::Xor, Reg::R6, 1);
        emitter.asm.store(Size::U32, Reg::R10, ALONE_AT, Reg::R6);
        self.layout.jump_if_v1(&mut emitter.asm, (Reg::R7, Reg::R8, Reg::R9), out, SCRATCH_AT);
        emitter.identify(Reg::R7, out);
        emitter.look_up();
        emitter.innermost(Reg::R8, out);
        emitter.asm.jump_if(Cond::Eq, Reg::R6, Reg::R9, out);
        emitter.asm.jump_if(Cond::Eq, Reg::R9, 0, entered);
        emitter.describe(MOVED);
        self.records.send_then(&mut emitter.asm, RECORD_AT, RECORD, sent);
        // It stays known as a process of its guarded cgroup, where it is not to be found.
        emitter.asm.jump(out);

        emitter.asm.bind(entered);
        emitter.asm.bind(sent);
        emitter.asm.load(Size::U32, Reg::R1, Reg::R10, ALONE_AT);
        emitter.asm.jump_if(Cond::Ne, Reg::R1, 0, out);
        emitter.asm.jump_if(Cond::Ne, Reg::R6, 0, known);
        emitter.delete();
        emitter.asm.jump(out);
        emitter.asm.bind(known);
        emitter.update();
        emitter.end(out)
    }

    /// For `sched_process_fork(parent, child)`, which fires before the child runs. With `CLONE_INTO_CGROUP`, the child
    /// is in another cgroup than its parent, and `cgroup_attach_task` does not fire.
    pub(super) fn on_fork(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let (same, differs, inherit) = (emitter.label(), emitter.label(), emitter.label());
        let (tracked, insert, out) = (emitter.label(), emitter.label(), emitter.label());
        let layout = self.layout;
        emitter.asm.load(Size::U64, Reg::R6, Reg::R1, 0);
        emitter.asm.load(Size::U64, Reg::R7, Reg::R1, 8);
        emitter.identify(Reg::R6, out);
        emitter.look_up();
        // In most cases, parent and child share this structure.
        emitter.follow(Reg::R6, Reg::R6, layout.cgroups);
        emitter.follow(Reg::R8, Reg::R7, layout.cgroups);
        emitter.asm.jump_if(Cond::Eq, Reg::R6, Reg::R8, same);
        emitter.follow(Reg::R6, Reg::R6, layout.default_cgroup);
        emitter.follow(Reg::R8, Reg::R8, layout.default_cgroup);
        emitter.asm.jump_if(Cond::Ne, Reg::R6, Reg::R8, differs);
        emitter.asm.bind(same);
        emitter.load_listing(Reg::R8);
        emitter.asm.jump_if(Cond::Eq, Reg::R8, 0, inherit);
        // The parent may not be tracked yet, or may still be tracked in the outer guarded cgroup.
        layout.load_cgroup(&mut emitter.asm, Reg::R0, Reg::R7, SCRATCH_AT);
        emitter.call_innermost(Reg::R0);
        emitter.asm.jump_if(Cond::Ne, Reg::R9, 0, tracked);
        // The parent is most likely outside, where nothing is missed.
        emitter.asm.jump_if(Cond::Eq, Reg::R6, TOO_DEEP, out);
        emitter.asm.bind(tracked);
        emitter.jump_if_too_deep(inherit);
        emitter.asm.jump_if(Cond::Ne, Reg::R6, 0, insert);
        // The parent may have moved out after it was listed and before it was stored.
        emitter.asm.jump_if(Cond::Eq, Reg::R9, Reg::R8, out);
        emitter.asm.bind(inherit);
        emitter.asm.mov(Reg::R6, Reg::R9);
        emitter.asm.jump_if(Cond::Eq, Reg::R9, 0, out);
        emitter.asm.jump(insert);

        emitter.asm.bind(differs);
        emitter.innermost(Reg::R8, out);
        emitter.asm.jump_if(Cond::Eq, Reg::R6, Reg::R9, inherit);
        emitter.asm.jump_if(Cond::Eq, Reg::R9, 0, insert);
        emitter.asm.store(Size::U64, Reg::R10, RECORD_AT + GUARDED, Reg::R9);
        // Another copy of this program may have reported this already.
        emitter.asm.store(Size::U64, Reg::R10, STARTED_KEY_AT, Reg::R7);
        emitter.read(8, STARTED_KEY_AT + 8, Reg::R7, layout.start);
        traced_records::update(&mut emitter.asm, self.started, STARTED_KEY_AT, TICKS_AT, NOEXIST);
        emitter.asm.jump_if(Cond::Ne, Reg::R0, 0, out);
        emitter.identify(Reg::R7, out);
        emitter.asm.load(Size::U64, Reg::R9, Reg::R10, RECORD_AT + GUARDED);
        emitter.is_thread();
        emitter.describe(STARTED);
        self.records.send(&mut emitter.asm, RECORD_AT, RECORD);
        emitter.asm.jump_if(Cond::Eq, Reg::R6, 0, out);

        emitter.asm.bind(insert);
        emitter.is_thread();
        emitter.asm.load(Size::U32, Reg::R1, Reg::R10, ALONE_AT);
        emitter.asm.jump_if(Cond::Ne, Reg::R1, 0, out);
        emitter.identify(Reg::R7, out);
        emitter.insert(out);
        emitter.end(out)
    }

    /// For `sched_process_exit(task)`, which fires for every thread.
    pub(super) fn on_exit(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let out = emitter.label();
        let layout = self.layout;
        emitter.asm.load(Size::U64, Reg::R7, Reg::R1, 0);
        layout.jump_if_alive(&mut emitter.asm, Reg::R7, out, KEY_AT, SCRATCH_AT);
        emitter.follow(Reg::R9, Reg::R7, layout.leader);
        emitter.number(Reg::R9, KEY_AT);
        emitter.delete();
        emitter.end(out)
    }
}

/// Emits one program.
struct Emitter<'a> {
    asm: Assembler,
    context: &'a Context<'a>,
    /// A subprogram: the id of the innermost guarded cgroup that has a cgroup in its subtree; 0, or [`TOO_DEEP`].
    innermost: Option<Label>,
    /// A subprogram: the number of a task in the observer's pid namespace, or 0.
    number_of: Option<Label>,
}

impl<'a> Emitter<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        Self { asm: Assembler::new(), context, innermost: None, number_of: None }
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

    /// Stores the number of a task.
    fn number(&mut self, task: Reg, at: i16) {
        if self.context.namespace == INITIAL_PID_NAMESPACE {
            return self.read(4, at, task, self.context.layout.thread);
        }
        let number_of = *self.number_of.get_or_insert_with(|| self.asm.new_label());
        self.asm.mov(Reg::R1, task);
        self.asm.call(number_of);
        self.asm.store(Size::U32, Reg::R10, at, Reg::R0);
    }

    /// Stores the start of a task, in ticks.
    fn ticks(&mut self, task: Reg, at: i16) {
        self.follow(Reg::R1, task, self.context.layout.start);
        if self.context.time_offset != 0 {
            self.asm.load_imm64(Reg::R2, self.context.time_offset.cast_unsigned());
            self.asm.alu(AluOp::Add, Reg::R1, Reg::R2);
        }
        self.asm.alu(AluOp::Div, Reg::R1, self.context.tick);
        self.asm.store(Size::U64, Reg::R10, at, Reg::R1);
    }

    /// Stores the number and the start of the task's process. Goes to `out` if it is in another pid namespace. Clobbers R9.
    fn identify(&mut self, task: Reg, out: Label) {
        self.follow(Reg::R9, task, self.context.layout.leader);
        self.ticks(Reg::R9, TICKS_AT);
        self.number(Reg::R9, KEY_AT);
        self.asm.load(Size::U32, Reg::R1, Reg::R10, KEY_AT);
        self.asm.jump_if(Cond::Eq, Reg::R1, 0, out);
    }

    /// Loads the guarded cgroup of the identified process into R9, or 0.
    fn look_up(&mut self) {
        let (none, done) = (self.label(), self.label());
        traced_records::look_up(&mut self.asm, self.context.processes, KEY_AT);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, none);
        self.asm.load(Size::U64, Reg::R9, Reg::R0, 0);
        // Another process may have had this id, whose end was missed.
        self.asm.load(Size::U64, Reg::R1, Reg::R0, 8);
        self.asm.load(Size::U64, Reg::R2, Reg::R10, TICKS_AT);
        self.asm.jump_if(Cond::Eq, Reg::R1, Reg::R2, done);
        self.asm.bind(none);
        self.asm.mov(Reg::R9, 0);
        self.asm.bind(done);
    }

    /// Loads the innermost guarded cgroup that has this one in its subtree into R6, or 0. If it is too deep, counts that and
    /// goes to `out`.
    fn innermost(&mut self, cgroup: Reg, out: Label) {
        self.call_innermost(cgroup);
        self.jump_if_too_deep(out);
    }

    /// Loads the innermost guarded cgroup that has this one in its subtree into R6, 0, or [`TOO_DEEP`].
    fn call_innermost(&mut self, cgroup: Reg) {
        let innermost = *self.innermost.get_or_insert_with(|| self.asm.new_label());
        self.asm.mov(Reg::R1, cgroup);
        self.asm.call(innermost);
        self.asm.mov(Reg::R6, Reg::R0);
    }

    /// If R6 is [`TOO_DEEP`], counts that and goes to `out`.
    fn jump_if_too_deep(&mut self, out: Label) {
        let found = self.label();
        self.asm.jump_if(Cond::Ne, Reg::R6, TOO_DEEP, found);
        self.context.records.count_lost(&mut self.asm);
        self.asm.jump(out);
        self.asm.bind(found);
    }

    /// Stores whether task R7 is not the first thread of its process.
    fn is_thread(&mut self) {
        let first = self.label();
        self.asm.store_imm(Size::U32, Reg::R10, ALONE_AT, 0);
        self.follow(Reg::R0, Reg::R7, self.context.layout.leader);
        self.asm.jump_if(Cond::Eq, Reg::R0, Reg::R7, first);
        self.asm.store_imm(Size::U32, Reg::R10, ALONE_AT, 1);
        self.asm.bind(first);
    }

    /// Writes the record on task R7, whose process is identified. It goes from guarded cgroup R9 to cgroup R8, in guarded
    /// cgroup R6. The current task moves it, or is its parent. Clobbers R9.
    fn describe(&mut self, kind: u32) {
        let layout = self.context.layout;
        let whole = self.label();
        let member = |offset: i16| RECORD_AT + offset;
        self.asm.store(Size::U64, Reg::R10, member(GUARDED), Reg::R9);
        self.asm.store(Size::U64, Reg::R10, member(ENTERED), Reg::R6);
        self.asm.store_imm(Size::U64, Reg::R10, member(KIND), kind as i32);
        self.asm.store_imm(Size::U32, Reg::R10, member(THREAD), 0);
        self.asm.load(Size::U32, Reg::R1, Reg::R10, ALONE_AT);
        self.asm.jump_if(Cond::Eq, Reg::R1, 0, whole);
        self.number(Reg::R7, member(THREAD));
        self.asm.bind(whole);
        self.asm.load(Size::U32, Reg::R1, Reg::R10, KEY_AT);
        self.asm.store(Size::U32, Reg::R10, member(PROCESS), Reg::R1);
        self.asm.load(Size::U64, Reg::R1, Reg::R10, TICKS_AT);
        self.asm.store(Size::U64, Reg::R10, member(TICKS), Reg::R1);
        self.read(16, member(NAME), Reg::R7, layout.name);
        self.follow(Reg::R0, Reg::R8, layout.node);
        self.read(8, member(TO), Reg::R0, layout.node_id);

        self.asm.call_helper(helper_ids::GET_CURRENT_TASK);
        self.asm.mov(Reg::R9, Reg::R0);
        self.read(16, member(MOVER_NAME), Reg::R9, layout.name);
        self.follow(Reg::R9, Reg::R9, layout.leader);
        self.ticks(Reg::R9, member(MOVER_TICKS));
        self.number(Reg::R9, member(MOVER));
        self.asm.call_helper(helper_ids::GET_CURRENT_UID_GID);
        self.asm.store(Size::U32, Reg::R10, member(MOVER_UID), Reg::R0);
        self.asm.call_helper(helper_ids::GET_CURRENT_CGROUP_ID);
        self.asm.store(Size::U64, Reg::R10, member(MOVER_CGROUP), Reg::R0);
    }

    /// Stores guarded cgroup R6 for the identified process.
    fn update(&mut self) {
        let stored = self.label();
        self.asm.store(Size::U64, Reg::R10, VALUE_AT, Reg::R6);
        traced_records::update(&mut self.asm, self.context.processes, KEY_AT, VALUE_AT, 0);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, stored);
        self.context.records.count_lost(&mut self.asm);
        self.asm.bind(stored);
    }

    /// Like `update`, but keeps an entry for the same process, which is newer. Then goes to `out`. Clobbers R9.
    fn insert(&mut self, out: Label) {
        self.asm.store(Size::U64, Reg::R10, VALUE_AT, Reg::R6);
        traced_records::update(&mut self.asm, self.context.processes, KEY_AT, VALUE_AT, NOEXIST);
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, out);
        self.look_up();
        self.asm.jump_if(Cond::Ne, Reg::R9, 0, out);
        self.update();
    }

    /// Loads the id of the guarded cgroup whose processes are being listed, or 0.
    fn load_listing(&mut self, dst: Reg) {
        traced_records::load_number_address(&mut self.asm, dst, self.context.listing);
        self.asm.load(Size::U64, dst, dst, 0);
    }

    fn delete(&mut self) {
        traced_records::delete(&mut self.asm, self.context.processes, KEY_AT);
    }

    /// Ends the main function and emits the subprograms.
    fn end(mut self, out: Label) -> Result<Vec<u8>, AsmError> {
        traced_records::return_zero(&mut self.asm, out);
        if let Some(innermost) = self.innermost {
            self.find_innermost(innermost);
        }
        if let Some(number_of) = self.number_of {
            self.asm.begin_function("number_of");
            self.asm.bind(number_of);
            self.asm.mov(Reg::R6, Reg::R1);
            let numbers = self.context.layout.numbers();
            numbers.return_number(&mut self.asm, self.context.namespace, KEY_AT, SCRATCH_AT);
        }
        Ok(encode(&self.asm.finish(false)?.insns))
    }

    fn find_innermost(&mut self, innermost: Label) {
        const ID_AT: i16 = -16;
        let layout = self.context.layout;
        let (next, found, none) = (self.label(), self.label(), self.label());
        self.asm.begin_function("innermost");
        self.asm.bind(innermost);
        self.asm.mov(Reg::R6, Reg::R1);
        self.asm.mov(Reg::R7, 0);
        self.asm.bind(next);
        self.follow(Reg::R0, Reg::R6, layout.node);
        self.read(8, ID_AT, Reg::R0, layout.node_id);
        traced_records::look_up(&mut self.asm, self.context.guarded, ID_AT);
        self.asm.jump_if(Cond::Ne, Reg::R0, 0, found);
        layout.climb(&mut self.asm, (next, none), SCRATCH_AT);
        self.asm.mov(Reg::R0, TOO_DEEP);
        self.asm.exit();
        self.asm.bind(none);
        self.asm.mov(Reg::R0, 0);
        self.asm.exit();
        self.asm.bind(found);
        self.asm.load(Size::U64, Reg::R0, Reg::R10, ID_AT);
        self.asm.exit();
    }
}
