//! Which network namespace owns the knob. That is the one in which it was opened, and the task may be in another one by now:
//! `proc_sys_call_handler` in fs/proc/proc_sysctl.c passes the head of the inode, and `sysctl_net_init` in net/sysctl_net.c makes
//! the set of a namespace. Nothing of it can be freed meanwhile, because the access holds a reference to the head.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R6, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, KnobOwner, Label, Reg, Size, helper_ids as helper};

use crate::ir::netns;

/// The result if kernel memory cannot be read. Like the others it is not 0.
pub(in crate::codegen) const UNKNOWN: i32 = 3;

/// What was read.
const SCRATCH: i16 = -8;

/// The function: R1 the context. Returns which namespace it is.
pub(super) fn emit(asm: &mut Assembler, owner: &KnobOwner) {
    let [unknown, host] = [(); 2].map(|()| asm.new_label());
    read(asm, R1, owner.head.into(), 8, unknown);
    asm.load(Size::U64, R6, R10, SCRATCH);
    read(asm, R6, owner.set.into(), 8, unknown);
    asm.load(Size::U64, R6, R10, SCRATCH);
    read(asm, R6, owner.is_seen.into(), 8, unknown);
    asm.load(Size::U64, R1, R10, SCRATCH);
    // All namespaces share the knob.
    asm.jump_if(Cond::Eq, R1, 0, host);
    read(asm, R6, owner.inum, 4, unknown);
    asm.load(Size::U32, R1, R10, SCRATCH);
    asm.mov32(R2, owner.host.cast_signed());
    asm.jump_if(Cond::Eq, R1, R2, host);
    asm.mov(R0, netns::OTHER as i32);
    asm.exit();
    asm.bind(host);
    asm.mov(R0, netns::HOST as i32);
    asm.exit();
    asm.bind(unknown);
    asm.mov(R0, UNKNOWN);
    asm.exit();
}

/// Reads kernel memory at `offset` from `base`.
fn read(asm: &mut Assembler, base: Reg, offset: i32, bytes: i32, failed: Label) {
    asm.mov(R3, base);
    if offset != 0 {
        asm.alu(AluOp::Add, R3, offset);
    }
    asm.mov(R1, R10);
    asm.alu(AluOp::Add, R1, i32::from(SCRATCH));
    asm.mov(R2, bytes);
    asm.call_helper(helper::PROBE_READ_KERNEL);
    asm.jump_if(Cond::Ne, R0, 0, failed);
}

const _: () = assert!(UNKNOWN as u32 != netns::HOST && UNKNOWN as u32 != netns::OTHER);
