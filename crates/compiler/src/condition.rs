//! Conditions to branches. A value is fetched and parsed when it is first needed, and at most once.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R7, R8, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::limits::ELEMENTS_MAX;
use knobgate_policy::{Condition, Operand, Piece, Relation, Text, TextOperand, TextTest, Value};

use crate::automaton::{self, TextEnd};
use crate::block::Block;
use crate::compare::{self, Source};
use crate::error::CompileError;
use crate::frame::{self, COMM, COMM_BYTES, Numbers};
use crate::lower::Lowering;
use crate::program;
use crate::shape;
use crate::table::Placed;

/// What a predicate on text looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextAt {
    Value(Value),
    Comm,
}

impl TextAt {
    /// Where its buffer is on the stack.
    fn offset(self) -> i16 {
        match self {
            TextAt::Value(value) => frame::buffer(value),
            TextAt::Comm => COMM,
        }
    }

    /// How long the buffer is, in bytes; the last one is always 0.
    fn bytes(self) -> i16 {
        match self {
            TextAt::Value(_) => frame::VALUE_BYTES,
            TextAt::Comm => COMM_BYTES,
        }
    }
}

impl Lowering<'_> {
    /// Jumps to `target` if whether `condition` holds is `when`, else falls through. Goes to where this rule is
    /// unreadable if it cannot be evaluated.
    pub(crate) fn branch(
        &mut self,
        condition: &Condition,
        target: Label,
        when: bool,
    ) -> Result<(), CompileError> {
        match condition {
            Condition::Not(condition) => self.branch(condition, target, !when),
            Condition::All(conditions) => self.sequence(conditions, false, target, when),
            Condition::Any(conditions) => self.sequence(conditions, true, target, when),
            Condition::Chain { first, links } => {
                let fall_through = self.asm.new_label();
                let mut left = self.operand(first)?;
                for (i, (relation, right)) in links.iter().enumerate() {
                    let right = self.operand(right)?;
                    if when && i + 1 == links.len() {
                        compare::branch(&mut self.asm, left, *relation, right, target, true);
                    } else {
                        let broken = if when { fall_through } else { target };
                        compare::branch(&mut self.asm, left, *relation, right, broken, false);
                    }
                    left = right;
                }
                self.asm.bind(fall_through);
                Ok(())
            }
            Condition::InRange(operand, range) => {
                let value = self.operand(operand)?;
                let low = range.low.map(|low| (Relation::GreaterOrEqual, low));
                let high = range.high.map(|high| (Relation::LessOrEqual, high));
                let (fall_through, inside) = (self.asm.new_label(), self.asm.new_label());
                let outside = if when { fall_through } else { target };
                for (relation, end) in [low, high].into_iter().flatten() {
                    compare::branch(&mut self.asm, value, relation, Source::Constant(end), outside, false);
                }
                self.asm.bind(inside);
                if when {
                    self.asm.jump(target);
                }
                self.asm.bind(fall_through);
                Ok(())
            }
            Condition::InSet(operand, set) => {
                let value = self.operand(operand)?;
                let fall_through = self.asm.new_label();
                let member = if when { target } else { fall_through };
                for integer in set {
                    let integer = Source::Constant(*integer);
                    compare::branch(&mut self.asm, value, Relation::Equal, integer, member, true);
                }
                if !when {
                    self.asm.jump(target);
                }
                self.asm.bind(fall_through);
                Ok(())
            }
            Condition::Text(operand, test) => self.text_test(*operand, test, target, when),
        }
    }

    /// Conditions of which the first that is `decisive` decides.
    fn sequence(
        &mut self,
        conditions: &[Condition],
        decisive: bool,
        target: Label,
        when: bool,
    ) -> Result<(), CompileError> {
        let fall_through = self.asm.new_label();
        let Some((last, others)) = conditions.split_last() else { return Ok(()) };
        let decided = if when == decisive { target } else { fall_through };
        for condition in others {
            self.branch(condition, decided, decisive)?;
        }
        self.branch(last, target, when)?;
        self.asm.bind(fall_through);
        Ok(())
    }

    /// Makes sure that an operand can be loaded.
    fn operand(&mut self, operand: &Operand) -> Result<Source, CompileError> {
        Ok(match *operand {
            Operand::Literal(integer) => Source::Constant(integer),
            Operand::Only(value) => {
                self.numbers(value, Cond::Ne, 1);
                Source::Number { of: value, index: 0 }
            }
            Operand::Element(value, index) => {
                self.numbers(value, Cond::Le, index.into());
                Source::Number { of: value, index: index.into() }
            }
            Operand::Count(value) => {
                self.numbers(value, Cond::Gt, ELEMENTS_MAX as i32);
                Source::Count(value)
            }
            Operand::Pos => Source::Position,
            Operand::Uid => self.ids("uid", Source::Uid)?,
            Operand::Gid => self.ids("gid", Source::Gid)?,
        })
    }

    /// Makes sure that `value` is a list of numbers, and that how many does not stand in the relation `refused` to
    /// `count`.
    pub(crate) fn numbers(&mut self, value: Value, refused: Cond, count: i32) {
        self.value(value);
        let unreadable = self.unreadable();
        self.asm.load(Size::U8, R1, R10, Numbers::of(value).shape());
        self.asm.jump_if(Cond::Gt, R1, ELEMENTS_MAX as i32, unreadable);
        if refused != Cond::Gt {
            self.asm.jump_if(refused, R1, count, unreadable);
        }
    }

    /// Makes sure that `value` can be read as text.
    pub(crate) fn text(&mut self, value: Value) {
        self.value(value);
        let unreadable = self.unreadable();
        self.asm.load(Size::U8, R1, R10, Numbers::of(value).shape());
        self.asm.jump_if(Cond::Eq, R1, shape::GOES_ON as i32, unreadable);
    }

    /// Makes sure that the bytes of `value` are there.
    pub(crate) fn value(&mut self, value: Value) {
        let flag = match value {
            Value::New => R7,
            Value::Old => R8,
        };
        let unreadable = self.unreadable();
        let fetched = self.asm.new_label();
        // That is always asked when the program runs: the verifier, which comes out of a shared block everywhere, has
        // to see that what it has not fetched is fetched.
        self.asm.jump_if(Cond::Ne, flag, 0, fetched);
        self.through(Block::Fetch(value));
        self.asm.load_map_value(flag, program::RULE_HITS, 0);
        self.asm.load(Size::U8, R1, R10, Numbers::of(value).shape());
        self.asm.jump_if(Cond::Eq, R1, shape::UNAVAILABLE as i32, unreadable);
        self.asm.bind(fetched);
    }

    fn ids(&mut self, operand: &'static str, source: Source) -> Result<Source, CompileError> {
        if !self.features.current_uid_gid {
            return Err(CompileError::NotOnThisKernel { rule: self.rule, operand });
        }
        self.asm.call_helper(helper::GET_CURRENT_UID_GID);
        self.asm.store(Size::U64, R10, frame::IDS, R0);
        Ok(source)
    }

    fn comm(&mut self) -> Result<(), CompileError> {
        if !self.features.current_comm {
            return Err(CompileError::NotOnThisKernel { rule: self.rule, operand: "comm" });
        }
        let unreadable = self.unreadable();
        self.address(R1, COMM);
        self.asm.mov(R2, i32::from(COMM_BYTES));
        self.asm.call_helper(helper::GET_CURRENT_COMM);
        self.asm.jump_if(Cond::Ne, R0, 0, unreadable);
        Ok(())
    }

    /// The address of a place on the stack.
    pub(crate) fn address(&mut self, register: Reg, offset: i16) {
        self.asm.mov(register, R10);
        self.asm.alu(AluOp::Add, register, i32::from(offset));
    }

    fn text_test(
        &mut self,
        operand: TextOperand,
        test: &TextTest,
        target: Label,
        when: bool,
    ) -> Result<(), CompileError> {
        let subject = match operand {
            TextOperand::Value(value) => {
                self.text(value);
                TextAt::Value(value)
            }
            TextOperand::Comm => {
                self.comm()?;
                TextAt::Comm
            }
        };
        let fall_through = self.asm.new_label();
        let (holds, fails) = if when { (target, fall_through) } else { (fall_through, target) };
        match test {
            TextTest::Equals(text) => self.compare_text(subject, text, true, fails),
            TextTest::Differs(text) => {
                self.compare_text(subject, text, true, holds);
                self.asm.jump(fails);
            }
            TextTest::In(texts) => {
                for text in texts {
                    let other = self.asm.new_label();
                    self.compare_text(subject, text, true, other);
                    self.asm.jump(holds);
                    self.asm.bind(other);
                }
                self.asm.jump(fails);
            }
            TextTest::StartsWith(text) => self.compare_text(subject, text, false, fails),
            TextTest::Matches(glob) => self.match_text(subject, glob.pieces(), fails)?,
            TextTest::Contains(text) => {
                let mut pieces = vec![Piece::Star];
                if !text.as_bytes().is_empty() {
                    pieces.extend([Piece::Literal(text.as_bytes().to_vec()), Piece::Star]);
                }
                self.match_text(subject, &pieces, fails)?;
            }
        }
        // Those that end by jumping need nothing more; the others fall through here when they hold.
        if !matches!(test, TextTest::Differs(_) | TextTest::In(_)) && when {
            self.asm.jump(target);
        }
        self.asm.bind(fall_through);
        Ok(())
    }

    /// Jumps to `differs` unless the subject's text is `text`, or, if not `whole`, begins with it. Behind the bytes
    /// that were fetched the buffer holds zeros.
    fn compare_text(&mut self, subject: TextAt, text: &Text, whole: bool, differs: Label) {
        let text = text.as_bytes();
        let too_long = text.len() >= subject.bytes() as usize;
        if too_long || (text.is_empty() && !whole) {
            return compare::jump(&mut self.asm, differs, too_long);
        }
        let mut rest = text;
        let mut at = subject.offset();
        for size in [Size::U64, Size::U32, Size::U16, Size::U8] {
            while let Some((word, behind)) = rest.split_at_checked(size.bytes() as usize) {
                let mut bytes = [0; 8];
                bytes[..word.len()].copy_from_slice(word);
                self.asm.load(size, R1, R10, at);
                self.asm.load_imm64(R2, u64::from_le_bytes(bytes));
                self.asm.jump_if(Cond::Ne, R1, R2, differs);
                rest = behind;
                at += size.bytes() as i16;
            }
        }
        if whole {
            let ends = self.asm.new_label();
            self.asm.load(Size::U8, R1, R10, at);
            if subject != TextAt::Comm {
                self.asm.jump_if(Cond::Eq, R1, i32::from(b'\n'), ends);
            }
            self.asm.jump_if(Cond::Ne, R1, 0, differs);
            self.asm.bind(ends);
        }
    }

    /// Jumps to `fails` unless `pieces` match the subject's text.
    fn match_text(&mut self, subject: TextAt, pieces: &[Piece], fails: Label) -> Result<(), CompileError> {
        let end = match subject {
            TextAt::Value(_) => TextEnd::NulOrNewline,
            TextAt::Comm => TextEnd::Nul,
        };
        let table =
            automaton::of_text(pieces, end).map_err(|_| CompileError::TextTooComplex { rule: self.rule })?;
        let Placed { classes, start } = self.tables.place(&table);
        self.address(R1, subject.offset());
        self.asm.mov(R2, i32::from(subject.bytes()));
        self.asm.mov(R3, classes as i32);
        self.asm.mov(R4, start as i32);
        self.routines.call_run_table(&mut self.asm);
        self.asm.jump_if(Cond::Eq, R0, 0, fails);
        Ok(())
    }
}
