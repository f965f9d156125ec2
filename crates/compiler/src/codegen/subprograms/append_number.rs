//! Writes a number in decimal.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R5, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Label, Size};

pub(super) fn emit(asm: &mut Assembler) {
    const DIGITS: i16 = 20;
    let digit = |i: i16| i - 24;
    let positive = asm.new_label();
    let put: Vec<Label> = (0..DIGITS).map(|_| asm.new_label()).collect();
    asm.mov(R5, R1);
    asm.jump_if(Cond::Eq, R3, 0, positive);
    asm.store_imm(Size::U8, R1, 0, i32::from(b'-'));
    asm.alu(AluOp::Add, R1, 1);
    asm.neg(R2);
    asm.bind(positive);
    for i in (0..DIGITS).rev() {
        asm.mov(R4, R2);
        asm.alu(AluOp::Mod, R4, 10);
        asm.alu(AluOp::Add, R4, i32::from(b'0'));
        asm.store(Size::U8, R10, digit(i), R4);
        asm.alu(AluOp::Div, R2, 10);
    }
    for i in 0..DIGITS - 1 {
        asm.load(Size::U8, R4, R10, digit(i));
        asm.jump_if(Cond::Ne, R4, i32::from(b'0'), put[usize::from(i as u16)]);
    }
    asm.jump(put[usize::from(DIGITS as u16 - 1)]);
    for i in 0..DIGITS {
        asm.bind(put[usize::from(i as u16)]);
        asm.load(Size::U8, R4, R10, digit(i));
        asm.store(Size::U8, R1, 0, R4);
        asm.alu(AluOp::Add, R1, 1);
    }
    asm.mov(R0, R1);
    asm.alu(AluOp::Sub, R0, R5);
    asm.exit();
}
