//! The calls of `bpf_sysctl_set_new_value` that replace what is being written.
//!
//! A compiler that replaces values and a probe that finds out whether a kernel can both emit these instructions. So what the
//! probe loads is what the kernel will have to accept.

use crate::Reg::{self, R0, R1, R2, R3, R10};
use crate::{AluOp, Assembler, Cond, Label, helper_ids};

/// Jumps to `out` unless the length in a register is from 1 to `most`. After that the verifier takes it for a size.
pub fn emit_length_check(asm: &mut Assembler, length: Reg, most: i32, out: Label) {
    asm.jump_if(Cond::Gt, length, most, out);
    // Not `== 0`: before 6.8 the verifier learns no lower bound from that (`reg_set_min_max`, kernel/bpf/verifier.c),
    // and rejects a size that may be 0.
    asm.jump_if(Cond::Lt, length, 1, out);
}

/// Replaces the value being written with the bytes at `buffer`, an offset on the stack. Jumps to `rejected` if the kernel
/// does not take them.
///
/// How many bytes there are is in `length`, which [has been checked](emit_length_check); one more is in the buffer. The
/// byte after the replacement must be NUL: most kernels hand the replacement to the knob's handler without terminating it
/// (CVE-2026-97420). So it is set twice, the first time with the NUL. Only the last call's length counts, and the NUL of
/// the first one stays where it is.
///
/// `context` and `length` are registers that survive calls; R0 to R5 do not.
pub fn emit_set_new_value(asm: &mut Assembler, context: Reg, buffer: i16, length: Reg, rejected: Label) {
    let address = |asm: &mut Assembler| {
        asm.mov(R2, R10);
        asm.alu(AluOp::Add, R2, i32::from(buffer));
    };
    emit_set_new_value_from(asm, context, address, length, rejected);
}

/// The same for a buffer anywhere: `address` emits code that makes R2 its address. It may clobber R1.
pub fn emit_set_new_value_from(
    asm: &mut Assembler,
    context: Reg,
    address: impl Fn(&mut Assembler),
    length: Reg,
    rejected: Label,
) {
    for terminator in [1, 0] {
        address(asm);
        asm.mov(R1, context);
        asm.mov(R3, length);
        asm.alu(AluOp::Add, R3, terminator);
        asm.call_helper(helper_ids::SYSCTL_SET_NEW_VALUE);
    }
    asm.jump_if(Cond::Ne, R0, 0, rejected);
}
