//! The programs. They share a hash from the id of a thread to the accesses in its current system call: a mark.

use std::os::fd::BorrowedFd;

use knobgate_bpf::{AluOp, AsmError, Assembler, Cond, Label, Reg, Size, encode, helper_ids};

use crate::traced_records::{self, RecordDestination, load_map};

/// The kinds of records.
pub(super) const RETURNED: u32 = 1;
pub(super) const EXECUTED: u32 = 2;

/// The size of a mark: `struct { u64 time_of_the_first_access; u64 accesses; }`
pub(super) const MARK: usize = 16;
/// The size of a record: `struct { u64 time; u64 first_access; s64 value; u32 id; u32 accesses; u64 kind; }`
pub(super) const RECORD: usize = 40;

/// Stack slots.
const KEY_AT: i16 = -8;
const MARK_AT: i16 = KEY_AT - MARK as i16;
const RECORD_AT: i16 = KEY_AT - RECORD as i16;

/// What the programs are generated from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The hash.
    pub(super) marks: BorrowedFd<'a>,
    /// An array with the traced cgroup.
    pub(super) cgroups: BorrowedFd<'a>,
    pub(super) records: RecordDestination<'a>,
    /// Whether reads count.
    pub(super) reads: bool,
}

impl Context<'_> {
    /// For the hook: counts an access of the current thread, and allows it.
    pub(super) fn marking(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let (first, out) = (emitter.asm.new_label(), emitter.asm.new_label());
        if !self.reads {
            // `write` of `struct bpf_sysctl`
            emitter.asm.load(Size::U32, Reg::R1, Reg::R1, 0);
            emitter.asm.jump_if(Cond::Eq, Reg::R1, 0, out);
        }
        emitter.thread();
        emitter.look_up();
        emitter.asm.jump_if(Cond::Eq, Reg::R0, 0, first);
        // Only this thread and its end of the system call use the entry.
        emitter.asm.load(Size::U64, Reg::R1, Reg::R0, 8);
        emitter.asm.alu(AluOp::Add, Reg::R1, 1);
        emitter.asm.store(Size::U64, Reg::R0, 8, Reg::R1);
        emitter.asm.jump(out);
        emitter.asm.bind(first);
        emitter.asm.call_helper(helper_ids::KTIME_GET_BOOT_NS);
        emitter.asm.store(Size::U64, Reg::R10, MARK_AT, Reg::R0);
        emitter.asm.mov(Reg::R1, 1);
        emitter.asm.store(Size::U64, Reg::R10, MARK_AT + 8, Reg::R1);
        traced_records::update(&mut emitter.asm, self.marks, KEY_AT, MARK_AT, 0);
        emitter.asm.jump_if(Cond::Eq, Reg::R0, 0, out);
        self.records.count_lost(&mut emitter.asm);
        emitter.end(out, 1)
    }

    /// For `sys_exit(regs, ret)`.
    pub(super) fn on_return(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let out = emitter.asm.new_label();
        emitter.asm.load(Size::U64, Reg::R6, Reg::R1, 8);
        emitter.thread();
        emitter.look_up();
        emitter.asm.jump_if(Cond::Eq, Reg::R0, 0, out);
        emitter.asm.load(Size::U64, Reg::R7, Reg::R0, 8);
        emitter.asm.load(Size::U64, Reg::R8, Reg::R0, 0);
        emitter.remove();
        emitter.send(RETURNED);
        emitter.end(out, 0)
    }

    /// For `sched_process_exit(task)`, which fires in each thread that ends. A worker of io_uring never returns from a system
    /// call: another thread may get its id, and must not get its mark.
    pub(super) fn on_exit(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let out = emitter.asm.new_label();
        emitter.thread();
        emitter.remove();
        emitter.end(out, 0)
    }

    /// For `sched_process_exec(task, old_pid, bprm)`, which fires when a file was executed.
    pub(super) fn on_exec(&self) -> Result<Vec<u8>, AsmError> {
        let mut emitter = Emitter::new(self);
        let out = emitter.asm.new_label();
        load_map(&mut emitter.asm, Reg::R1, self.cgroups);
        emitter.asm.mov(Reg::R2, 0);
        emitter.asm.call_helper(helper_ids::CURRENT_TASK_UNDER_CGROUP);
        emitter.asm.jump_if(Cond::Ne, Reg::R0, 1, out);
        emitter.thread();
        emitter.asm.mov(Reg::R6, 0);
        emitter.asm.mov(Reg::R7, 0);
        emitter.asm.mov(Reg::R8, 0);
        emitter.send(EXECUTED);
        emitter.end(out, 0)
    }
}

/// Emits one program.
struct Emitter<'a> {
    asm: Assembler,
    context: &'a Context<'a>,
}

impl<'a> Emitter<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        Self { asm: Assembler::new(), context }
    }

    /// Stores the id of the current thread as the key. After `execve`, that is also the id of the process.
    fn thread(&mut self) {
        self.asm.call_helper(helper_ids::GET_CURRENT_PID_TGID);
        self.asm.store(Size::U32, Reg::R10, KEY_AT, Reg::R0);
    }

    /// Looks up the mark of the key.
    fn look_up(&mut self) {
        traced_records::look_up(&mut self.asm, self.context.marks, KEY_AT);
    }

    /// Removes the mark of the key, if there is one.
    fn remove(&mut self) {
        traced_records::delete(&mut self.asm, self.context.marks, KEY_AT);
    }

    /// Sends a record for the key, with value R6 and R7 accesses, the first at time R8.
    fn send(&mut self, kind: u32) {
        self.asm.call_helper(helper_ids::KTIME_GET_BOOT_NS);
        self.asm.store(Size::U64, Reg::R10, RECORD_AT, Reg::R0);
        self.asm.store(Size::U64, Reg::R10, RECORD_AT + 8, Reg::R8);
        self.asm.store(Size::U64, Reg::R10, RECORD_AT + 16, Reg::R6);
        self.asm.load(Size::U32, Reg::R1, Reg::R10, KEY_AT);
        self.asm.store(Size::U32, Reg::R10, RECORD_AT + 24, Reg::R1);
        self.asm.store(Size::U32, Reg::R10, RECORD_AT + 28, Reg::R7);
        self.asm.mov(Reg::R1, kind as i32);
        self.asm.store(Size::U64, Reg::R10, RECORD_AT + 32, Reg::R1);
        self.context.records.send(&mut self.asm, RECORD_AT, RECORD);
    }

    /// Ends the program with this value.
    fn end(mut self, out: Label, value: i32) -> Result<Vec<u8>, AsmError> {
        self.asm.bind(out);
        self.asm.mov(Reg::R0, value);
        self.asm.exit();
        Ok(encode(&self.asm.finish(false)?.insns))
    }
}
