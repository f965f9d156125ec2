//! Conditions to branches. The values that they look at have been fetched.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::limits::{ELEMENTS_MAX, VALUE_MAX};
use knobgate_policy::{Relation, Value};

use crate::body::{Bytes, Constant, SetAt, Slot, SortedAt, Term, Test, TextAt, TextCheck};
use crate::compare;
use crate::frame::{self, COMM, COMM_BYTES, Numbers};
use crate::lower::Lowering;
use crate::shape;

impl TextAt {
    /// Where its buffer is on the stack.
    pub(crate) fn offset(self) -> i16 {
        match self {
            TextAt::Value(value) => frame::buffer(value),
            TextAt::Comm => COMM,
        }
    }

    /// How long the buffer is, in bytes; the last one is always 0.
    pub(crate) fn bytes(self) -> i16 {
        match self {
            TextAt::Value(_) => frame::VALUE_BYTES,
            TextAt::Comm => COMM_BYTES,
        }
    }
}

impl Lowering<'_> {
    /// Jumps to `target` if whether `test` holds is `when`, else falls through. Goes to where this rule is
    /// unreadable if it cannot be evaluated.
    pub(crate) fn branch(&mut self, test: &Test, target: Label, when: bool) {
        match test {
            Test::Not(test) => self.branch(test, target, !when),
            Test::All(tests) => self.sequence(tests, false, target, when),
            Test::Any(tests) => self.sequence(tests, true, target, when),
            Test::Chain { first, links } => {
                let fall_through = self.asm.new_label();
                let mut left = *first;
                self.readable(left);
                for (i, &(relation, right)) in links.iter().enumerate() {
                    self.readable(right);
                    if when && i + 1 == links.len() {
                        self.compare(left, relation, right, target, true);
                    } else {
                        let broken = if when { fall_through } else { target };
                        self.compare(left, relation, right, broken, false);
                    }
                    left = right;
                }
                self.asm.bind(fall_through);
            }
            Test::InRange(term, ends) => {
                self.readable(*term);
                let low = ends.low.map(|low| (Relation::GreaterOrEqual, low));
                let high = ends.high.map(|high| (Relation::LessOrEqual, high));
                let fall_through = self.asm.new_label();
                let outside = if when { fall_through } else { target };
                for (relation, end) in [low, high].into_iter().flatten() {
                    self.compare(*term, relation, Term::Constant(end), outside, false);
                }
                if when {
                    self.asm.jump(target);
                }
                self.asm.bind(fall_through);
            }
            Test::InSet(term, set) => self.in_set(*term, set, target, when),
            Test::InTable(term, set) => self.in_table(*term, *set, target, when),
            Test::Text(at, check) => self.text_check(*at, check, target, when),
        }
    }

    /// Tests of which the first that is `decisive` decides.
    fn sequence(&mut self, tests: &[Test], decisive: bool, target: Label, when: bool) {
        let fall_through = self.asm.new_label();
        let Some((last, others)) = tests.split_last() else { return };
        let decided = if when == decisive { target } else { fall_through };
        for test in others {
            self.branch(test, decided, decisive);
        }
        self.branch(last, target, when);
        self.asm.bind(fall_through);
    }

    fn in_set(&mut self, term: Term, set: &[Constant], target: Label, when: bool) {
        self.readable(term);
        let fall_through = self.asm.new_label();
        let member = if when { target } else { fall_through };
        for &constant in set {
            self.compare(term, Relation::Equal, Term::Constant(constant), member, true);
        }
        if !when {
            self.asm.jump(target);
        }
        self.asm.bind(fall_through);
    }

    fn in_table(&mut self, term: Term, set: SetAt, target: Label, when: bool) {
        self.readable(term);
        let (negative, fall_through) = (self.asm.new_label(), self.asm.new_label());
        let no_member = if when { fall_through } else { target };
        self.load_sign(term, R3);
        self.asm.jump_if(Cond::Ne, R3, 0, negative);
        for (label, sorted) in [(None, set.nonnegative), (Some(negative), set.negative)] {
            if let Some(label) = label {
                self.asm.bind(label);
            }
            match sorted {
                Some(SortedAt { offset, log2 }) => {
                    self.load_term(term, R1);
                    self.constant(R2, offset);
                    self.constant(R3, log2);
                    self.routines.call_is_among(&mut self.asm, self.tables);
                    self.asm.jump_if(if when { Cond::Ne } else { Cond::Eq }, R0, 0, target);
                    self.asm.jump(fall_through);
                }
                None => self.asm.jump(no_member),
            }
        }
        self.asm.bind(fall_through);
    }

    /// Makes sure that a term can be loaded.
    fn readable(&mut self, term: Term) {
        match term {
            Term::Only(value) => self.numbers(value, Cond::Ne, 1),
            Term::Element(value, index) => self.numbers(value, Cond::Le, index.into()),
            Term::Count(value) => self.numbers(value, Cond::Gt, ELEMENTS_MAX as i32),
            Term::Uid | Term::Gid => {
                self.asm.call_helper(helper::GET_CURRENT_UID_GID);
                self.asm.store(Size::U64, R10, frame::IDS, R0);
            }
            Term::Constant(_) | Term::Position => {}
        }
    }

    /// Makes sure that `value` is a list of numbers, and that how many does not stand in the relation `refused` to
    /// `count`.
    pub(crate) fn numbers(&mut self, value: Value, refused: Cond, count: i32) {
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
        self.asm.jump_if(Cond::Eq, R1, shape::GOES_ON as i32, unreadable);
    }

    /// Makes sure that the bytes of `value` are there, and leaves its shape in R1.
    pub(crate) fn value(&mut self, value: Value) {
        let unreadable = self.unreadable();
        self.asm.load(Size::U8, R1, R10, Numbers::of(value).shape());
        self.asm.jump_if(Cond::Eq, R1, shape::UNAVAILABLE as i32, unreadable);
    }

    fn comm(&mut self) {
        let unreadable = self.unreadable();
        self.address(R1, COMM);
        self.asm.mov(R2, i32::from(COMM_BYTES));
        self.asm.call_helper(helper::GET_CURRENT_COMM);
        self.asm.jump_if(Cond::Ne, R0, 0, unreadable);
    }

    /// The address of a place on the stack.
    pub(crate) fn address(&mut self, register: Reg, offset: i16) {
        self.asm.mov(register, R10);
        self.asm.alu(AluOp::Add, register, i32::from(offset));
    }

    fn text_check(&mut self, at: TextAt, check: &TextCheck, target: Label, when: bool) {
        match at {
            TextAt::Value(value) => self.text(value),
            TextAt::Comm => self.comm(),
        }
        let fall_through = self.asm.new_label();
        let (holds, fails) = if when { (target, fall_through) } else { (fall_through, target) };
        match check {
            TextCheck::Equals(text) => self.compare_text(at, *text, true, fails),
            TextCheck::Differs(text) => {
                self.compare_text(at, *text, true, holds);
                self.asm.jump(fails);
            }
            TextCheck::In(texts) => {
                for text in texts {
                    let other = self.asm.new_label();
                    self.compare_text(at, *text, true, other);
                    self.asm.jump(holds);
                    self.asm.bind(other);
                }
                self.asm.jump(fails);
            }
            TextCheck::StartsWith(text) => self.compare_text(at, *text, false, fails),
            TextCheck::Matches { classes, start } => self.match_text(at, *classes, *start, fails),
        }
        // Those that end by jumping need nothing more; the others fall through here when they hold.
        if !matches!(check, TextCheck::Differs(_) | TextCheck::In(_)) && when {
            self.asm.jump(target);
        }
        self.asm.bind(fall_through);
    }

    /// Jumps to `differs` unless the subject's text is `text`, or, if not `whole`, begins with it. Behind the bytes
    /// that were fetched the buffer holds zeros.
    fn compare_text(&mut self, subject: TextAt, text: Bytes, whole: bool, differs: Label) {
        let too_long = text.len >= subject.bytes() as usize;
        if too_long || (text.len == 0 && !whole) {
            return compare::jump(&mut self.asm, differs, too_long);
        }
        let mut done = 0;
        for size in [Size::U64, Size::U32, Size::U16, Size::U8] {
            while text.len - done >= size.bytes() as usize {
                self.asm.load(size, R1, R10, subject.offset() + done as i16);
                self.constant_bytes(R2, text, done, size);
                self.asm.jump_if(Cond::Ne, R1, R2, differs);
                done += size.bytes() as usize;
            }
        }
        if whole {
            let ends = self.asm.new_label();
            self.asm.load(Size::U8, R1, R10, subject.offset() + done as i16);
            if subject != TextAt::Comm {
                self.asm.jump_if(Cond::Eq, R1, i32::from(b'\n'), ends);
            }
            self.asm.jump_if(Cond::Ne, R1, 0, differs);
            self.asm.bind(ends);
        }
    }

    /// Jumps to `fails` unless the automaton that lies there finds a match in the subject's text.
    fn match_text(&mut self, subject: TextAt, classes: Slot, start: Slot, fails: Label) {
        self.address(R1, subject.offset());
        match subject {
            TextAt::Value(value) => {
                self.asm.load(Size::U8, R2, R10, Numbers::of(value).length());
                // Known, but not to the verifier.
                let unreadable = self.unreadable();
                self.asm.jump_if(Cond::Gt, R2, VALUE_MAX as i32, unreadable);
            }
            TextAt::Comm => self.asm.mov(R2, i32::from(COMM_BYTES)),
        }
        self.constant(R3, classes);
        self.constant(R4, start);
        self.routines.call_run_table(&mut self.asm, subject.bytes() as usize);
        self.asm.jump_if(Cond::Eq, R0, 0, fails);
    }
}
