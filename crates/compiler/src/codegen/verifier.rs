//! Code that only the verifier needs. No other code depends on what the verifier accepts without saying so: each trick is a
//! function here, with the check in kernel/bpf/verifier.c that it is for. Three are a choice of code that does its work anyway,
//! and are where that is:
//!
//! - `lookup` loads a word of a name again for each comparison. In a register, `reg_set_min_max` would narrow it, and the
//!   verifier would follow the rest for each range.
//! - `subprograms::fetch` has the path first of which less is known, since `push_stack` saves the branch for later. The other
//!   path then ends where `states_equal` finds that its state is part of one that was followed.
//! - `layout::tables` places nothing at offset 0, which `check_stack_write_fixed_off` would track as a zero.
//!
//! Three things shape all of the code:
//!
//! - Work: the verifier follows a path again for every different state of registers and tracked stack. So values whose
//!   differences do not matter are *laundered*: the verifier forgets what it knows of them.
//! - Proof: an offset or a length must have a known bound where it is used.
//! - Trust: the verifier of 6.1.170 takes a state for one that it has seen although a register that decides later differs,
//!   and then removes the path as dead code. So no path depends on the verifier telling constants apart: what selects a block
//!   is laundered before anything is read through it.

use knobgate_bpf::Reg::{R1, R2, R3, R6, R10};
use knobgate_bpf::{AluOp, Assembler, ByteOrder, Cond, Insn, Label, Reg, Size, helper_ids};

use super::context;
use crate::layout::frame;

/// Makes the verifier forget what it knows of `register`, which is below 256.
///
/// `check_stack_write_fixed_off` (`check_stack_write` before 5.12) saves what it knows of a stored number only if the offset
/// from the frame pointer is a multiple of 8. The exception is a known zero, which it tracks everywhere (`STACK_ZERO`).
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

/// The same for 8 bytes, without the stack: two byte swaps change nothing, and `check_alu_op` knows nothing of a register
/// after one. With commit 9d2119984224 ("bpf: Add bitwise tracking for BPF_END") it forgets the bounds and keeps known bits.
pub(super) fn launder_word(asm: &mut Assembler, register: Reg) {
    asm.emit(Insn::swap(ByteOrder::ToBig, Size::U64, register));
    asm.emit(Insn::swap(ByteOrder::ToBig, Size::U64, register));
}

/// Proves that `register` is at most `most`, which it always is; `otherwise` is never taken.
///
/// Without a known bound, `check_mem_region_access` rejects an access to a map value at that offset, and
/// `check_stack_access_within_bounds` one to the stack. If it is the length of a text, the verifier would follow reads beyond
/// the end of the buffer, which `check_stack_read_fixed_off` rejects where nothing was stored.
pub(super) fn prove_at_most(asm: &mut Assembler, register: Reg, most: i32, otherwise: Label) {
    asm.jump_if(Cond::Gt, register, most, otherwise);
}

/// Proves that the offset in `register` lies inside the tables. Something was placed there, so the mask does not change it.
///
/// `check_map_access` rejects an offset that might lie outside.
pub(super) fn prove_inside_tables(asm: &mut Assembler, register: Reg, mask: u32) {
    asm.alu(AluOp::And, register, mask as i32);
}

/// Proves that the offset of counters in `register` is at most `most` and a multiple of 8, which it always is; `otherwise` is
/// never taken.
///
/// `check_atomic` (`check_xadd` before 5.12) has `check_mem_access` ask for strict alignment, and the verifier knows nothing of
/// the bits of a number that was loaded.
pub(super) fn prove_counter_offset(asm: &mut Assembler, register: Reg, most: i32, otherwise: Label) {
    asm.alu(AluOp::And, register, i32::MAX & !7);
    prove_at_most(asm, register, most, otherwise);
}

/// Loads a byte that is in another register already.
///
/// A copy of the register would be linked to it: what a comparison shows of one, `sync_linked_regs` (`find_equal_scalars` before
/// 6.12) notes for the other, and the verifier would follow the rest for every value.
pub(super) fn load_unlinked_byte(asm: &mut Assembler, into: Reg, base: Reg, offset: i16) {
    asm.load(Size::U8, into, base, offset);
}

/// Makes `into` 0, the file position of an access whose new value is available. R6 is the context.
///
/// Of a constant, `check_alu_op` and `check_stack_write_fixed_off` know the value. Of a field of the context,
/// `check_mem_access` knows nothing.
pub(super) fn load_unknown_zero(asm: &mut Assembler, into: Reg) {
    asm.load(Size::U32, into, R6, context::FILE_POS);
}

/// Jumps to `target` if `taken`, by a condition whose result is known.
///
/// `check_cfg` rejects unreachable instructions, but takes both ways of every conditional jump for possible.
pub(super) fn jump_if_taken(asm: &mut Assembler, target: Label, taken: bool) {
    asm.mov(R1, 0);
    asm.jump_if(if taken { Cond::Eq } else { Cond::Ne }, R1, 0, target);
}

/// Zeroes 8 bytes at each of `offsets` from `base`, from R1, which becomes 0.
///
/// Without commit ecdf985d7615 ("bpf: track immediate values written to stack by BPF_ST instruction"), which is in 6.3, 6.1.36,
/// 5.15.120 and 5.10.186, `check_stack_write_fixed_off` does not know what `BPF_ST` stores, not even a zero.
pub(super) fn zero_through_register(asm: &mut Assembler, base: Reg, offsets: impl IntoIterator<Item = i16>) {
    asm.mov(R1, 0);
    for offset in offsets {
        asm.store(Size::U64, base, offset, R1);
    }
}

/// Has a helper store `bytes` bytes at `offset` from the frame pointer: what is there then is of no use. R6 is the context. Clobbers R0 to
/// R5.
///
/// `bpf_sysctl_get_current_value` takes memory that nothing was stored to (`ARG_PTR_TO_UNINIT_MEM`), and for the verifier, it stores
/// `STACK_MISC` to all of it. If the program itself stored numbers there, `check_stack_write_fixed_off` would remember them, and
/// `check_stack_write_var_off` which of their bytes have been overwritten since. The verifier would follow the rest for every
/// combination.
pub(super) fn store_through_helper(asm: &mut Assembler, offset: i16, bytes: i16) {
    asm.mov(R1, R6);
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, i32::from(offset));
    asm.mov(R3, i32::from(bytes));
    asm.call_helper(helper_ids::SYSCTL_GET_CURRENT_VALUE);
}
