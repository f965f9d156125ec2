//! Runs a DFA over a subject.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R5};
use knobgate_bpf::{AluOp, Assembler, Cond, Size};
use knobgate_policy::limits::NAME_MAX;

use crate::codegen::verifier;
use crate::layout::TableFacts;
use crate::program;

pub(super) fn emit(asm: &mut Assembler, tables: &TableFacts) {
    let done = asm.new_label();
    asm.load_map_value(R5, program::TABLES, 0);
    verifier::prove_inside_tables(asm, R3, tables.byte_mask);
    asm.alu(AluOp::Add, R3, R5);
    let entry = |asm: &mut Assembler, into, offset| {
        verifier::prove_inside_tables(asm, R4, tables.entry_mask);
        asm.mov(R0, R4);
        asm.alu(AluOp::Lsh, R0, 2);
        asm.alu(AluOp::Add, R0, R5);
        asm.load(Size::U32, into, R0, offset);
    };
    for i in 0..NAME_MAX as i16 {
        asm.jump_if(Cond::Le, R2, i32::from(i), done);
        asm.load(Size::U8, R0, R1, i);
        asm.alu(AluOp::Add, R0, R3);
        asm.load(Size::U8, R0, R0, 0);
        asm.alu(AluOp::Add, R4, R0);
        entry(asm, R4, 4);
    }
    asm.bind(done);
    entry(asm, R0, 0);
    asm.exit();
}
