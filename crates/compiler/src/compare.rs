//! Comparing integers between −2⁶³ and 2⁶⁴−1: a sign and the low 64 bits in two's complement. Of equal signs, the
//! order of the bits, unsigned, is the order of the integers.

use knobgate_bpf::Reg::{R1, R2, R3, R4, R6, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Label, Reg, Size};
use knobgate_policy::{Relation, Value};

use crate::body::{Constant, Term};
use crate::context;
use crate::frame::{self, Numbers};
use crate::lower::Lowering;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    NonNegative,
    Negative,
    Unknown,
}

fn sign(term: Term) -> Sign {
    match term {
        Term::Constant(Constant { is_negative: true, .. }) => Sign::Negative,
        Term::Only(_) | Term::Element(..) => Sign::Unknown,
        Term::Constant(_) | Term::Count(_) | Term::Position | Term::Uid | Term::Gid => Sign::NonNegative,
    }
}

impl Lowering<'_> {
    /// Jumps to `target` if whether `left` and `right`, which can be read, are so related is `when`, else falls through.
    /// Uses R1 to R4.
    pub(crate) fn compare(&mut self, left: Term, relation: Relation, right: Term, target: Label, when: bool) {
        let fall_through = self.asm.new_label();
        let goto_if_holds = |holds: bool| if holds == when { target } else { fall_through };
        // What follows from the signs alone, where they differ.
        let less_holds = matches!(relation, Relation::Less | Relation::LessOrEqual | Relation::NotEqual);
        let greater_holds =
            matches!(relation, Relation::Greater | Relation::GreaterOrEqual | Relation::NotEqual);
        match (sign(left), sign(right)) {
            (Sign::NonNegative, Sign::Negative) => {
                return jump(&mut self.asm, target, greater_holds == when);
            }
            (Sign::Negative, Sign::NonNegative) => return jump(&mut self.asm, target, less_holds == when),
            (Sign::Unknown, Sign::Unknown) => {
                let alike = self.asm.new_label();
                self.load_sign(left, R3);
                self.load_sign(right, R4);
                self.asm.jump_if(Cond::Eq, R3, R4, alike);
                self.asm.jump_if(Cond::Ne, R3, 0, goto_if_holds(less_holds));
                self.asm.jump(goto_if_holds(greater_holds));
                self.asm.bind(alike);
            }
            (Sign::Unknown, known) => {
                self.load_sign(left, R3);
                match known {
                    Sign::Negative => self.asm.jump_if(Cond::Eq, R3, 0, goto_if_holds(greater_holds)),
                    _ => self.asm.jump_if(Cond::Ne, R3, 0, goto_if_holds(less_holds)),
                }
            }
            (known, Sign::Unknown) => {
                self.load_sign(right, R3);
                match known {
                    Sign::Negative => self.asm.jump_if(Cond::Eq, R3, 0, goto_if_holds(less_holds)),
                    _ => self.asm.jump_if(Cond::Ne, R3, 0, goto_if_holds(greater_holds)),
                }
            }
            _ => {}
        }
        self.load_term(left, R1);
        self.load_term(right, R2);
        self.asm.jump_if(unsigned(if when { relation } else { opposite(relation) }), R1, R2, target);
        self.asm.bind(fall_through);
    }

    /// Loads the low 64 bits.
    pub(crate) fn load_term(&mut self, term: Term, into: Reg) {
        let number = |of, index| Numbers::of(of).element(index);
        match term {
            Term::Constant(constant) => self.constant(into, constant.slot),
            Term::Only(value) => self.asm.load(Size::U64, into, R10, number(value, 0)),
            Term::Element(value, index) => self.asm.load(Size::U64, into, R10, number(value, index.into())),
            Term::Count(value) => self.asm.load(Size::U8, into, R10, Numbers::of(value).shape()),
            Term::Position => self.asm.load(Size::U32, into, R6, context::FILE_POS),
            Term::Uid => self.asm.load(Size::U32, into, R10, frame::IDS),
            Term::Gid => self.asm.load(Size::U32, into, R10, frame::IDS + 4),
        }
    }

    /// Loads 1 if it is negative, else 0.
    pub(crate) fn load_sign(&mut self, term: Term, into: Reg) {
        let mut bit = |of: Value, index: u8| {
            self.asm.load(Size::U8, into, R10, Numbers::of(of).signs());
            self.asm.alu(AluOp::Rsh, into, i32::from(index));
            self.asm.alu(AluOp::And, into, 1);
        };
        match term {
            Term::Only(value) => bit(value, 0),
            Term::Element(value, index) => bit(value, index),
            other => self.asm.mov(into, i32::from(sign(other) == Sign::Negative)),
        }
    }
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
