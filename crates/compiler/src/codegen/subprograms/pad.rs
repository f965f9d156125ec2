//! Pads a replacement with newlines.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4};
use knobgate_bpf::{Assembler, Cond, Label, Size};
use knobgate_policy::limits::SHORT_VALUE_MAX;

pub(super) fn emit(asm: &mut Assembler) {
    const LAST: usize = SHORT_VALUE_MAX;
    let does_not_fit = asm.new_label();
    let fill: Vec<Label> = (0..=LAST).map(|_| asm.new_label()).collect();
    for (i, &fill) in fill.iter().enumerate() {
        asm.load(Size::U8, R4, R1, i as i16);
        asm.jump_if(Cond::Eq, R4, 0, fill);
        asm.jump_if(Cond::Eq, R4, i32::from(b'\n'), fill);
        asm.jump_if(Cond::Le, R2, i as i32, does_not_fit);
    }
    asm.bind(does_not_fit);
    asm.mov(R0, 0);
    asm.exit();
    for (i, &fill) in fill.iter().enumerate() {
        let next = asm.new_label();
        asm.bind(fill);
        if i < LAST {
            asm.jump_if(Cond::Gt, R2, i as i32, next);
        }
        asm.store(Size::U8, R1, i as i16, R3);
        asm.mov(R0, 1);
        asm.exit();
        asm.bind(next);
        if i < LAST {
            asm.store_imm(Size::U8, R1, i as i16, i32::from(b'\n'));
        }
    }
}
