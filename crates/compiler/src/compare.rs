//! Comparing integers between −2⁶³ and 2⁶⁴−1: a sign and the low 64 bits in two's complement. Of equal signs, the
//! order of the bits, unsigned, is the order of the integers.

use knobgate_bpf::Reg::{R1, R2, R3, R4, R6, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Label, Reg, Size};
use knobgate_policy::{Integer, Relation, Value};

use crate::context;
use crate::frame::{self, Numbers};

/// An integer that can be loaded any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A constant.
    Constant(Integer),
    /// A number of a value.
    Number {
        /// The value.
        of: Value,
        /// The index of the number.
        index: usize,
    },
    /// How many numbers a value holds.
    Count(Value),
    /// The low half of the file position, from the context.
    Position,
    /// The user id of the task.
    Uid,
    /// The group id of the task.
    Gid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    NonNegative,
    Negative,
    Unknown,
}

impl Source {
    fn sign(self) -> Sign {
        match self {
            Source::Constant(integer) if integer.is_negative() => Sign::Negative,
            Source::Number { .. } => Sign::Unknown,
            _ => Sign::NonNegative,
        }
    }

    /// Loads the low 64 bits.
    pub(crate) fn load(self, asm: &mut Assembler, into: Reg) {
        match self {
            Source::Constant(integer) => asm.load_imm64(into, integer.low_bits()),
            Source::Number { of, index } => asm.load(Size::U64, into, R10, Numbers::of(of).element(index)),
            Source::Count(value) => asm.load(Size::U8, into, R10, Numbers::of(value).shape()),
            Source::Position => asm.load(Size::U32, into, R6, context::FILE_POS),
            Source::Uid => asm.load(Size::U32, into, R10, frame::IDS),
            Source::Gid => asm.load(Size::U32, into, R10, frame::IDS + 4),
        }
    }

    /// Loads 1 if it is negative, else 0.
    pub(crate) fn load_sign(self, asm: &mut Assembler, into: Reg) {
        match self {
            Source::Number { of, index } => {
                asm.load(Size::U8, into, R10, Numbers::of(of).signs());
                asm.alu(AluOp::Rsh, into, index as i32);
                asm.alu(AluOp::And, into, 1);
            }
            other => asm.mov(into, i32::from(other.sign() == Sign::Negative)),
        }
    }
}

/// Jumps to `target` if whether `left` and `right` are so related is `when`, else falls through. Uses R1 to R4.
pub(crate) fn branch(
    asm: &mut Assembler,
    left: Source,
    relation: Relation,
    right: Source,
    target: Label,
    when: bool,
) {
    let fall_through = asm.new_label();
    let goto_if_holds = |holds: bool| if holds == when { target } else { fall_through };
    // What follows from the signs alone, where they differ.
    let less_holds = matches!(relation, Relation::Less | Relation::LessOrEqual | Relation::NotEqual);
    let greater_holds = matches!(relation, Relation::Greater | Relation::GreaterOrEqual | Relation::NotEqual);
    match (left.sign(), right.sign()) {
        (Sign::NonNegative, Sign::Negative) => return jump(asm, target, greater_holds == when),
        (Sign::Negative, Sign::NonNegative) => return jump(asm, target, less_holds == when),
        (Sign::Unknown, Sign::Unknown) => {
            let alike = asm.new_label();
            left.load_sign(asm, R3);
            right.load_sign(asm, R4);
            asm.jump_if(Cond::Eq, R3, R4, alike);
            asm.jump_if(Cond::Ne, R3, 0, goto_if_holds(less_holds));
            asm.jump(goto_if_holds(greater_holds));
            asm.bind(alike);
        }
        (Sign::Unknown, known) => {
            left.load_sign(asm, R3);
            match known {
                Sign::Negative => asm.jump_if(Cond::Eq, R3, 0, goto_if_holds(greater_holds)),
                _ => asm.jump_if(Cond::Ne, R3, 0, goto_if_holds(less_holds)),
            }
        }
        (known, Sign::Unknown) => {
            right.load_sign(asm, R3);
            match known {
                Sign::Negative => asm.jump_if(Cond::Eq, R3, 0, goto_if_holds(less_holds)),
                _ => asm.jump_if(Cond::Ne, R3, 0, goto_if_holds(greater_holds)),
            }
        }
        _ => {}
    }
    left.load(asm, R1);
    right.load(asm, R2);
    asm.jump_if(unsigned(if when { relation } else { opposite(relation) }), R1, R2, target);
    asm.bind(fall_through);
}

/// Jumps to `target` if `taken`. Written as a condition whose result is known: the verifier removes code that is never
/// run, but refuses code that no jump leads to.
pub(crate) fn jump(asm: &mut Assembler, target: Label, taken: bool) {
    asm.mov(R1, 0);
    asm.jump_if(if taken { Cond::Eq } else { Cond::Ne }, R1, 0, target);
}

fn unsigned(relation: Relation) -> Cond {
    match relation {
        Relation::Less => Cond::Lt,
        Relation::LessOrEqual => Cond::Le,
        Relation::Equal => Cond::Eq,
        Relation::NotEqual => Cond::Ne,
        Relation::GreaterOrEqual => Cond::Ge,
        Relation::Greater => Cond::Gt,
    }
}

fn opposite(relation: Relation) -> Relation {
    match relation {
        Relation::Less => Relation::GreaterOrEqual,
        Relation::LessOrEqual => Relation::Greater,
        Relation::Equal => Relation::NotEqual,
        Relation::NotEqual => Relation::Equal,
        Relation::GreaterOrEqual => Relation::Less,
        Relation::Greater => Relation::LessOrEqual,
    }
}
