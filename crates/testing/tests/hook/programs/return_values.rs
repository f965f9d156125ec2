//! Programs with random computations of their return value, which the verifier must find to be 0 or 1.

use knobgate_bpf::{AluOp, Assembler, Cond, Insn, Label, Operand, Program, Reg, Size, Width};
use knobgate_hook::Profile;
use knobgate_testing::Random;

const NUMBERS: [Reg; 3] = [Reg::R0, Reg::R2, Reg::R3];

/// A program for such a kernel.
pub(crate) fn any(random: &mut Random, profile: &Profile) -> Program {
    let mut asm = Assembler::new();
    let deny = asm.new_label();
    let mut denies = false;
    for register in NUMBERS {
        match random.below(4) {
            0 => asm.mov(register, random.below(3) as i32),
            _ => {
                let (size, offset) =
                    random.pick(&[(Size::U32, 4), (Size::U32, 0), (Size::U8, 5), (Size::U16, 4)]);
                asm.load(size, register, Reg::R1, offset);
            }
        }
    }
    // The sign may be anything, too.
    if random.one_in(2) {
        let register = random.pick(&NUMBERS);
        asm.neg(register);
    }
    for _ in 0..2 + random.below(9) {
        step(&mut asm, random, profile, deny, &mut denies);
    }
    asm.exit();
    if denies {
        asm.bind(deny);
        asm.mov(Reg::R0, 0);
        asm.exit();
    } else {
        // Every label must be bound, even if nothing jumps there.
        asm.bind(deny);
    }
    Program {
        name: "ending".to_owned(),
        ..Program::from(asm.finish(profile.long_jump).expect("it assembles"))
    }
}

fn operand(random: &mut Random) -> Operand {
    match random.below(6) {
        0 => Operand::Reg(random.pick(&NUMBERS)),
        1 => Operand::Imm(random.number() as i32),
        _ => Operand::Imm(random.below(4) as i32 - 1),
    }
}

fn step(asm: &mut Assembler, random: &mut Random, profile: &Profile, deny: Label, denies: &mut bool) {
    let (dst, src) = (random.pick(&NUMBERS), random.pick(&NUMBERS));
    let width = random.pick(&[Width::W64, Width::W32]);
    match random.below(12) {
        0..=2 => {
            let cond = random.pick(&Cond::ALL);
            let right = operand(random);
            match width {
                Width::W64 => asm.jump_if(cond, dst, right, deny),
                Width::W32 => asm.jump32_if(cond, dst, right, deny),
            }
            *denies = true;
        }
        3 | 4 => {
            // Over a step or two.
            let over = asm.new_label();
            let (cond, right) = (random.pick(&Cond::ALL), operand(random));
            match width {
                Width::W64 => asm.jump_if(cond, dst, right, over),
                Width::W32 => asm.jump32_if(cond, dst, right, over),
            }
            for _ in 0..1 + random.below(2) {
                compute(asm, random, profile, dst);
            }
            asm.bind(over);
        }
        5 => asm.emit(Insn::mov(width, dst, src)),
        6 if profile.isa_v4 => {
            asm.emit(Insn::mov_signed(Width::W64, random.pick(&[Size::U8, Size::U16, Size::U32]), dst, src));
        }
        7 => {
            let offset = random.pick(&[-8, -16]);
            let size = random.pick(&[Size::U64, Size::U64, Size::U32]);
            asm.store(size, Reg::R10, offset, dst);
            let narrower = if random.one_in(3) { random.pick(&[Size::U8, Size::U32]) } else { size };
            asm.load(narrower, src, Reg::R10, offset);
        }
        8 => asm.alu(AluOp::And, dst, 1),
        _ => compute(asm, random, profile, dst),
    }
}

fn compute(asm: &mut Assembler, random: &mut Random, profile: &Profile, dst: Reg) {
    let width = random.pick(&[Width::W64, Width::W32]);
    if random.one_in(3) {
        asm.mov(dst, random.below(3) as i32);
        return;
    }
    let op = random.pick(&super::arithmetic::operations(profile));
    let operand = match (op, operand(random)) {
        (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, _) => Operand::Imm(random.pick(&[1, 8, 16, 31])),
        (AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod, Operand::Imm(0)) => Operand::Imm(2),
        (_, operand) => operand,
    };
    asm.emit(Insn::alu(width, op, dst, operand));
}
