//! Looks for a word among many.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R5};
use knobgate_bpf::{AluOp, Assembler, Cond, Size};

use crate::codegen::verifier;
use crate::layout::TableFacts;
use crate::program;

/// A binary search. R4 is how many words are certain to be less.
pub(super) fn emit(asm: &mut Assembler, tables: &TableFacts) {
    const LAUNDER: i16 = -4;
    let word = |asm: &mut Assembler| {
        asm.alu(AluOp::Lsh, R0, 3);
        asm.alu(AluOp::Add, R0, R2);
        verifier::prove_inside_tables(asm, R0, tables.offset_mask);
        asm.alu(AluOp::Add, R0, R5);
        asm.load(Size::U64, R0, R0, 0);
    };
    asm.load_map_value(R5, program::TABLES, 0);
    asm.mov(R4, 0);
    for step in (0..tables.longest_search).rev() {
        let next = asm.new_label();
        asm.jump_if(Cond::Le, R3, step as i32, next);
        asm.mov(R0, R4);
        asm.alu(AluOp::Add, R0, (1 << step) - 1);
        word(asm);
        asm.jump_if(Cond::Ge, R0, R1, next);
        asm.alu(AluOp::Add, R4, 1 << step);
        asm.bind(next);
        // Else the verifier would follow every number that R4 can be.
        verifier::launder_through(asm, R4, LAUNDER);
    }
    let found = asm.new_label();
    asm.mov(R0, R4);
    word(asm);
    asm.jump_if(Cond::Eq, R0, R1, found);
    asm.mov(R0, 0);
    asm.exit();
    asm.bind(found);
    asm.mov(R0, 1);
    asm.exit();
}
