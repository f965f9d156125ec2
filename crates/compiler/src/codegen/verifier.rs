//! What is emitted for the verifier's sake alone. No other code depends on what it takes for a reason: each trick is a
//! function here, with the check in kernel/bpf/verifier.c that it is for.
//!
//! Three things shape all of the code. Work: the verifier follows a path again for every different state of registers and
//! tracked stack, so what differs without need is *laundered*: it becomes unknown. Proof: an offset into a map, a
//! length for a helper must be bounded where it is used. Trust: the verifier of 6.1.170 takes a state for one that it has seen
//! although a register that decides later differs, and then removes the path as dead code. So no path depends on the verifier
//! telling constants apart: what selects a block is laundered before anything is read through it.

use knobgate_bpf::Reg::{R1, R10};
use knobgate_bpf::{AluOp, Assembler, ByteOrder, Cond, Insn, Label, Reg, Size};

use crate::layout::frame;

/// Makes the verifier forget what it knows of `register`, which is below 256.
///
/// `check_stack_write_fixed_off` keeps what it knows of a spilled register only for slots that are a multiple of 8 from the
/// frame pointer.
pub(super) fn launder_byte(asm: &mut Assembler, register: Reg) {
    asm.store(Size::U8, R10, frame::LAUNDER, register);
    asm.load(Size::U8, register, R10, frame::LAUNDER);
}

/// The same for the offset of a row.
pub(super) fn launder_row(asm: &mut Assembler, register: Reg) {
    launder_through(asm, register, frame::LAUNDER_ROW);
}

/// The same for 4 bytes, through a place on the stack that is no multiple of 8.
pub(super) fn launder_through(asm: &mut Assembler, register: Reg, place: i16) {
    debug_assert!(place % 8 != 0, "the verifier tracks what is stored there");
    asm.store(Size::U32, R10, place, register);
    asm.load(Size::U32, register, R10, place);
}

/// The same for 8 bytes, without the stack: `check_alu_op` knows nothing of a register after a byte swap, and two of them
/// change nothing.
pub(super) fn launder_word(asm: &mut Assembler, register: Reg) {
    asm.emit(Insn::swap(ByteOrder::ToBig, Size::U64, register));
    asm.emit(Insn::swap(ByteOrder::ToBig, Size::U64, register));
}

/// Proves that `register` is at most `most`, which it always is; `otherwise` is never taken.
///
/// `check_mem_size_reg` and `adjust_ptr_min_max_vals` reject a length or an offset without a known bound.
pub(super) fn prove_at_most(asm: &mut Assembler, register: Reg, most: i32, otherwise: Label) {
    asm.jump_if(Cond::Gt, register, most, otherwise);
}

/// Proves that the offset in `register`, which is one that was placed in the tables, lies inside of them: it is not changed
/// by the mask. `check_map_access` rejects an offset that might lie outside.
pub(super) fn prove_inside_tables(asm: &mut Assembler, register: Reg, mask: u32) {
    asm.alu(AluOp::And, register, mask as i32);
}

/// Jumps to `target` if `taken`, by a condition whose result is known.
///
/// `check_cfg` rejects instructions that no jump leads to; it does not know the results of conditions.
pub(super) fn jump_if_taken(asm: &mut Assembler, target: Label, taken: bool) {
    asm.mov(R1, 0);
    asm.jump_if(if taken { Cond::Eq } else { Cond::Ne }, R1, 0, target);
}

/// Zeroes 8 bytes at `offset` from `base`, from R1, which becomes 0.
///
/// Before 6.3 `check_stack_write_fixed_off` does not know what `BPF_ST` stores, not even of a zero.
pub(super) fn zero_through_register(asm: &mut Assembler, base: Reg, offsets: impl IntoIterator<Item = i16>) {
    asm.mov(R1, 0);
    for offset in offsets {
        asm.store(Size::U64, base, offset, R1);
    }
}
