//! How programs on tracepoints read the kernel's structures: with `bpf_probe_read_kernel`, which returns zeros on a
//! fault.

use std::{fs, io};

use knobgate_bpf::{AluOp, Assembler, Cond, Reg, Size, helper_ids};

use crate::process_id::ProcessId;
use crate::traced_records::load_stack_address;

/// The id of the initial pid namespace: `PROC_PID_INIT_INO` in include/linux/proc_ns.h
pub(crate) const INITIAL_PID_NAMESPACE: u32 = 0xefff_fffc;
/// `MAX_PID_NS_LEVEL` in include/linux/pid_namespace.h
const PID_NAMESPACES: i32 = 32;

/// The id of our pid namespace, provided that `/proc` belongs to it.
pub(crate) fn pid_namespace() -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;

    let ours = fs::read_link("/proc/self")?;
    if ours.to_str() != Some(&ProcessId::this().to_string()) {
        return Err(io::Error::other("/proc belongs to another one"));
    }
    Ok(fs::metadata("/proc/self/ns/pid")?.ino() as u32)
}

/// Reads `size` bytes of kernel memory at `base + offset` to the stack. Clobbers R0 to R5.
pub(crate) fn read(asm: &mut Assembler, size: i32, at: i16, base: Reg, offset: u32) {
    asm.mov(Reg::R3, base);
    asm.alu(AluOp::Add, Reg::R3, offset as i32);
    load_stack_address(asm, Reg::R1, at);
    asm.mov(Reg::R2, size);
    asm.call_helper(helper_ids::PROBE_READ_KERNEL);
}

/// Loads a pointer, through the eight bytes of the stack at `scratch`.
pub(crate) fn follow(asm: &mut Assembler, dst: Reg, base: Reg, offset: u32, scratch: i16) {
    read(asm, 8, scratch, base, offset);
    asm.load(Size::U64, dst, Reg::R10, scratch);
}

/// Where the numbers of a task are: one in each pid namespace that it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberOffsets {
    /// `task_struct.thread_pid`
    pub(crate) thread_id: u32,
    /// `pid.level`
    pub(crate) level: u32,
    /// `pid.numbers`
    pub(crate) numbers: u32,
    /// `upid.nr`
    pub(crate) number: u32,
    /// `upid.ns`
    pub(crate) namespace: u32,
    /// The size of `upid`.
    pub(crate) number_size: u32,
    /// `pid_namespace.ns.inum`
    pub(crate) namespace_id: u32,
}

impl NumberOffsets {
    /// The rest of a subprogram: it returns the number of task R6 in this pid namespace, or 0. Uses R6 to R8, four bytes of
    /// the stack at `word`, and eight at `scratch`.
    pub(crate) fn return_number(self, asm: &mut Assembler, pid_namespace: u32, word: i16, scratch: i16) {
        let (next, found, none) = (asm.new_label(), asm.new_label(), asm.new_label());
        follow(asm, Reg::R6, Reg::R6, self.thread_id, scratch);
        read(asm, 4, word, Reg::R6, self.level);
        asm.load(Size::U32, Reg::R8, Reg::R10, word);
        asm.alu(AluOp::Add, Reg::R6, self.numbers as i32);
        asm.mov(Reg::R7, 0);
        asm.bind(next);
        asm.jump_if(Cond::Gt, Reg::R7, Reg::R8, none);
        follow(asm, Reg::R0, Reg::R6, self.namespace, scratch);
        read(asm, 4, word, Reg::R0, self.namespace_id);
        asm.load(Size::U32, Reg::R0, Reg::R10, word);
        asm.mov32(Reg::R1, pid_namespace.cast_signed());
        asm.jump_if(Cond::Eq, Reg::R0, Reg::R1, found);
        asm.alu(AluOp::Add, Reg::R6, self.number_size as i32);
        asm.alu(AluOp::Add, Reg::R7, 1);
        asm.jump_if(Cond::Le, Reg::R7, PID_NAMESPACES, next);
        asm.bind(none);
        asm.mov(Reg::R0, 0);
        asm.exit();
        asm.bind(found);
        read(asm, 4, word, Reg::R6, self.number);
        asm.load(Size::U32, Reg::R0, Reg::R10, word);
        asm.exit();
    }
}
