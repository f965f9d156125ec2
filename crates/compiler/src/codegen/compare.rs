//! Compares integers between −2⁶³ and 2⁶⁴−1: a sign and the low 64 bits in two's complement. If the signs are equal, the
//! unsigned order of the bits is the order of the integers.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R5, R6, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size};
use knobgate_policy::Relation;

use super::code::Code;
use super::rule_code::RuleConstants;
use super::{context, subject, verifier};
use crate::ir::{Integer, Number, Operand};
use crate::layout::frame::{self, Numbers};

/// Where a test leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    pub(super) holds: Label,
    pub(super) fails: Label,
    /// Which of the two is bound right after the test.
    pub(super) next: NextLabel,
}

/// Which label code falls through to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextLabel {
    Holds,
    Fails,
    Neither,
}

impl Branch {
    fn of(self, holds: bool) -> Label {
        if holds { self.holds } else { self.fails }
    }

    /// Branches on whether `register` and `operand`, both unsigned, are in this relation.
    pub(super) fn jump_if(
        self,
        code: &mut Code<'_>,
        register: Reg,
        relation: Relation,
        operand: impl Into<knobgate_bpf::Operand>,
    ) {
        match self.next {
            NextLabel::Holds => code.asm.jump_if(unsigned(negated(relation)), register, operand, self.fails),
            NextLabel::Fails => code.asm.jump_if(unsigned(relation), register, operand, self.holds),
            NextLabel::Neither => {
                code.asm.jump_if(unsigned(relation), register, operand, self.holds);
                code.asm.jump(self.fails);
            }
        }
    }

    /// Branches on a result that is known.
    pub(super) fn always(self, code: &mut Code<'_>, holds: bool) {
        match self.next {
            NextLabel::Holds => verifier::jump_if_taken(&mut code.asm, self.fails, !holds),
            NextLabel::Fails => verifier::jump_if_taken(&mut code.asm, self.holds, holds),
            NextLabel::Neither => {
                verifier::jump_if_taken(&mut code.asm, self.holds, holds);
                code.asm.jump(self.fails);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    NonNegative,
    Negative,
    Unknown,
}

fn sign(operand: Operand) -> Sign {
    match operand {
        Operand::Constant(Integer { is_negative: true, .. }) => Sign::Negative,
        Operand::Number(_) => Sign::Unknown,
        Operand::Constant(_)
        | Operand::Masked(..)
        | Operand::Count(_)
        | Operand::Position
        | Operand::Uid
        | Operand::Gid
        | Operand::KnobNetns => Sign::NonNegative,
    }
}

/// Branches on whether `left` and `right`, which can be evaluated, are in this relation. Uses R1 to R4, and R0 for a network
/// namespace.
pub(super) fn emit(
    code: &mut Code<'_>,
    constants: RuleConstants<'_>,
    (left, relation, right): (Operand, Relation, Operand),
    branch: Branch,
) {
    // The result if the signs differ.
    let less_holds = matches!(relation, Relation::Less | Relation::LessOrEqual | Relation::NotEqual);
    let greater_holds = matches!(relation, Relation::Greater | Relation::GreaterOrEqual | Relation::NotEqual);
    match (sign(left), sign(right)) {
        (Sign::NonNegative, Sign::Negative) => return branch.always(code, greater_holds),
        (Sign::Negative, Sign::NonNegative) => return branch.always(code, less_holds),
        (Sign::Unknown, Sign::Unknown) => {
            let equal = code.asm.new_label();
            load_sign(code, left, R3);
            load_sign(code, right, R4);
            code.asm.jump_if(Cond::Eq, R3, R4, equal);
            code.asm.jump_if(Cond::Ne, R3, 0, branch.of(less_holds));
            code.asm.jump(branch.of(greater_holds));
            code.asm.bind(equal);
        }
        (Sign::Unknown, known) => {
            load_sign(code, left, R3);
            match known {
                Sign::Negative => code.asm.jump_if(Cond::Eq, R3, 0, branch.of(greater_holds)),
                _ => code.asm.jump_if(Cond::Ne, R3, 0, branch.of(less_holds)),
            }
        }
        (known, Sign::Unknown) => {
            load_sign(code, right, R3);
            match known {
                Sign::Negative => code.asm.jump_if(Cond::Eq, R3, 0, branch.of(less_holds)),
                _ => code.asm.jump_if(Cond::Ne, R3, 0, branch.of(greater_holds)),
            }
        }
        _ => {}
    }
    load(code, constants, left, R1);
    load(code, constants, right, R2);
    branch.jump_if(code, R1, relation, R2);
}

/// Loads the low 64 bits. For a mask it also uses R5.
pub(super) fn load(code: &mut Code<'_>, constants: RuleConstants<'_>, operand: Operand, into: Reg) {
    let element = |number: Number| Numbers::of(number.value).element(number.index.into());
    match operand {
        Operand::Constant(integer) => constants.load(code, into, integer.slot),
        Operand::Number(number) => code.asm.load(Size::U64, into, R10, element(number)),
        Operand::Masked(number, mask) => {
            constants.load(code, R5, mask);
            code.asm.load(Size::U64, into, R10, element(number));
            code.asm.alu(AluOp::And, into, R5);
        }
        Operand::Count(value) => code.asm.load(Size::U8, into, R10, Numbers::of(value).shape()),
        Operand::Position => code.asm.load(Size::U32, into, R6, context::FILE_POS),
        Operand::Uid => code.asm.load(Size::U32, into, R10, frame::IDS),
        Operand::Gid => code.asm.load(Size::U32, into, R10, frame::IDS + 4),
        // It is there since the operand was checked, before the comparison.
        Operand::KnobNetns => code.asm.mov(into, R0),
    }
}

/// Loads 1 if the operand is negative, else 0.
pub(super) fn load_sign(code: &mut Code<'_>, operand: Operand, into: Reg) {
    match operand {
        Operand::Number(number) => subject::load_sign(code, R10, number, into),
        other => code.asm.mov(into, i32::from(sign(other) == Sign::Negative)),
    }
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

fn negated(relation: Relation) -> Relation {
    match relation {
        Relation::Less => Relation::GreaterOrEqual,
        Relation::LessOrEqual => Relation::Greater,
        Relation::Equal => Relation::NotEqual,
        Relation::NotEqual => Relation::Equal,
        Relation::GreaterOrEqual => Relation::Less,
        Relation::Greater => Relation::LessOrEqual,
    }
}
