//! Conditional jumps: `check_cond_jmp_op()`.

use std::rc::Rc;

use knobgate_bpf::{Cond, Operand, Reg, Width};

use super::check::{Next, Verifier};
use super::register::{Kind, Register, ScalarId};
use super::scalar::Scalar;
use super::state::{HistoryEntry, Place, State};
use super::violation::Violation;

/// `LINKED_REGS_MAX`: of how many linked numbers a branch learns something.
const LINKED_REGS_MAX: usize = 6;

/// A comparison.
#[derive(Clone, Copy)]
struct Comparison {
    width: Width,
    cond: Cond,
    dst: Reg,
    operand: Operand,
}

impl Verifier<'_> {
    /// Follows a conditional jump. The branch that falls through is followed first.
    pub(super) fn jump_if(
        &mut self,
        width: Width,
        cond: Cond,
        dst: Reg,
        operand: Operand,
        target: usize,
    ) -> Result<Next, Violation> {
        let comparison = Comparison { width, cond, dst, operand };
        let left = self.read(dst)?;
        let right = match operand {
            Operand::Imm(imm) => Register::constant(i64::from(imm) as u64),
            Operand::Reg(src) => self.read(src)?,
        };
        let is_stack = |register: &Register| matches!(register.kind, Kind::Stack(_));
        if is_stack(&left) || is_stack(&right) {
            self.history_entry().compares_stack = (is_stack(&left), is_stack(&right));
        }
        let outcomes = [false, true].map(|holds| self.outcome(comparison, holds, &left, &right));
        let next = self.state.insn + 1;
        let [Some(falls), Some(jumps)] = outcomes else {
            for (register, value) in [(Some(dst), left), (register(operand), right)] {
                if let (Some(register), true) = (register, value.is_scalar()) {
                    self.mark_precise(register);
                }
            }
            return Ok(match outcomes {
                [None, Some(_)] => Next::Insn(target),
                _ => Next::Insn(next),
            });
        };
        self.push_linked_history(&left, &right);
        let mut other = self.state.clone();
        jumps.apply(&mut other, comparison, &left);
        self.push(target, other)?;
        falls.apply(&mut self.state, comparison, &left);
        Ok(Next::Insn(next))
    }

    /// What is known if the comparison turns out to be `holds`. `None`: it does not (`is_branch_taken`).
    fn outcome(
        &self,
        comparison: Comparison,
        holds: bool,
        left: &Register,
        right: &Register,
    ) -> Option<Learnt> {
        let Comparison { width, cond, dst, operand } = comparison;
        if left.is_scalar() && right.is_scalar() {
            let (a, b) = (left.scalar, right.scalar);
            let is_itself = operand == Operand::Reg(dst);
            let decided = match itself(width, cond, a) {
                Some(outcome) if is_itself && self.env.profile.self_comparisons_decided => Some(outcome),
                _ => Scalar::is_branch_taken(width, cond, a, b),
            };
            if decided.is_some_and(|outcome| outcome != holds) {
                return None;
            }
            if is_itself {
                // Which of its bounds contradict each other is not modelled.
                let learnt = a.compare_itself(width, cond, holds)?;
                return Some(Learnt::Numbers(learnt, learnt));
            }
            let Some((refined, other)) = Scalar::compare(width, cond, holds, a, b) else {
                let (a, b) = match (cond, holds) {
                    (Cond::Set, false) => (a.without_bits(width, b), b.without_bits(width, a)),
                    _ => (a.without_bounds(), b.without_bounds()),
                };
                return Some(Learnt::Numbers(a, b));
            };
            let differ = matches!((cond, holds), (Cond::Ne, true) | (Cond::Eq, false));
            // Before 6.8, `reg_set_min_max` learns nothing from inequality.
            return Some(if differ && self.env.profile.version < (6, 8) {
                Learnt::Numbers(a, b)
            } else {
                Learnt::Numbers(refined, other)
            });
        }
        let equals = match cond {
            Cond::Eq => Some(holds),
            Cond::Ne => Some(!holds),
            _ => None,
        };
        let null = |register: &Register| register.is_scalar() && register.scalar.known_to(width) == Some(0);
        if equals == Some(true)
            && (left.is_never_null() && null(right) || right.is_never_null() && null(left))
        {
            return None;
        }
        if width == Width::W64
            && operand == Operand::Imm(0)
            && let Some(equals) = equals
            && left.maybe_null
        {
            let kind = self.kind_if_not_null(left.kind);
            let keeps_id = matches!(kind, Kind::MapValue(map) if self.has_lock(map));
            return Some(Learnt::Null { is_null: equals, kind, keeps_id });
        }
        if width == Width::W64
            && equals == Some(true)
            && left.is_pointer()
            && right.is_pointer()
            && left.maybe_null != right.maybe_null
            && !matches!((left.kind, right.kind), (Kind::BtfId(..), _) | (_, Kind::BtfId(..)))
            && self.env.profile.version >= (6, 2)
        {
            let (is_left, nullable) = if left.maybe_null { (true, left) } else { (false, right) };
            return Some(Learnt::NotNull { is_left, kind: self.kind_if_not_null(nullable.kind) });
        }
        Some(Learnt::Nothing)
    }

    /// What a pointer to a value is when it is known not to be null: an array of maps has maps in it.
    fn kind_if_not_null(&self, kind: Kind) -> Kind {
        match kind {
            Kind::MapValue(map) => self.env.inner[usize::from(map)].map_or(kind, Kind::Map),
            kind => kind,
        }
    }

    /// Keeps which linked numbers the branch learns something of, for backtracking (`collect_linked_regs`). Since 6.12 there
    /// is only room for some; the others are not linked any more. 6.18.44 does not count registers that are not live.
    fn push_linked_history(&mut self, left: &Register, right: &Register) {
        let origin = |register: &Register| if register.is_scalar() { register.link.origin } else { 0 };
        let origins = [origin(left), origin(right)];
        if origins == [0, 0] {
            return;
        }
        let version = self.env.profile.version;
        let is_live = |place: &Place| match *place {
            Place::Register { frame, register } if version >= (6, 18) => {
                let live = self.env.live_registers[self.state.insn_of(usize::from(frame))];
                live >> register & 1 == 1
            }
            _ => true,
        };
        let is_linked = |value: &Register| {
            value.is_scalar() && value.link.origin != 0 && origins.contains(&value.link.origin)
        };
        let places = self.state.places().filter(|(_, value)| is_linked(value)).map(|(place, _)| place);
        let mut linked: Vec<Place> = places.filter(is_live).collect();
        linked.sort_by_key(|place| std::cmp::Reverse(place.frame()));
        if version >= (6, 12) && linked.len() > LINKED_REGS_MAX {
            for place in linked.split_off(LINKED_REGS_MAX) {
                self.state.unlink(place);
            }
        }
        if linked.len() > 1 {
            self.history_entry().linked = Some(Rc::from(linked));
        }
    }

    /// `may_goto`: the jump is followed first, and then the loop, which the runtime ends.
    pub(super) fn may_goto(&mut self, target: usize) -> Result<Next, Violation> {
        let insn = self.state.insn;
        let mut queued = self.state.clone();
        queued.may_goto_depth += 1;
        // The last checkpoint is that of this round.
        let depth = self.state.depth.saturating_sub(1);
        if let Some(before) = self.explored.previous_entry(&self.state, insn, depth) {
            super::widening::widen(self.explored.get(before), &mut queued);
        }
        self.push(insn + 1, queued)?;
        Ok(Next::Insn(target))
    }

    /// An entry for the current instruction.
    pub(super) fn history_entry(&mut self) -> &mut HistoryEntry {
        let (insn, previous) = (self.state.insn, self.state.last_insn);
        if !self.has_history {
            self.has_history = true;
            self.state.history.push(HistoryEntry::new(insn, previous));
        }
        let last = self.state.history.len() - 1;
        &mut self.state.history[last]
    }
}

/// What a branch tells about what was compared.
#[derive(Clone, Copy)]
enum Learnt {
    Nothing,
    /// The bounds of both numbers.
    Numbers(Scalar, Scalar),
    /// Whether the pointer is null, and what it is if not (`mark_ptr_or_null_regs`). It keeps its id if locks are told apart
    /// by it (`reg_may_point_to_spin_lock`).
    Null {
        is_null: bool,
        kind: Kind,
        keeps_id: bool,
    },
    /// One of two equal pointers is not null because the other is not, and what it is (`mark_ptr_not_null_reg`).
    NotNull {
        is_left: bool,
        kind: Kind,
    },
}

impl Learnt {
    fn apply(self, state: &mut State, comparison: Comparison, left: &Register) {
        let Comparison { dst, operand, .. } = comparison;
        match self {
            Self::Nothing => {}
            Self::Numbers(a, b) => {
                state.learn(dst, a);
                if let Some(src) = register(operand).filter(|src| *src != dst) {
                    state.learn(src, b);
                }
            }
            Self::Null { is_null: true, .. } => state.mark_null(left),
            Self::Null { is_null: false, kind, keeps_id } => state.mark_not_null(left, kind, keeps_id),
            Self::NotNull { is_left, kind } => {
                let register = if is_left { Some(dst) } else { register(operand) };
                if let Some(register) = register {
                    let value = state.get(register);
                    state.set(register, Register { kind, maybe_null: false, ..value });
                }
            }
        }
    }
}

impl State {
    /// The number has nothing to do with others any more.
    fn unlink(&mut self, place: Place) {
        match place {
            Place::Register { frame, register } => {
                self.frames[usize::from(frame)].registers[usize::from(register)].link = ScalarId::NONE;
            }
            Place::Slot { frame, slot } => {
                self.frames[usize::from(frame)].slot_mut(usize::from(slot)).spilled.link = ScalarId::NONE;
            }
        }
    }

    /// Sets a register to this number, and updates all numbers that are linked to it (`sync_linked_regs`).
    fn learn(&mut self, register: Reg, scalar: Scalar) {
        let value = self.get(register);
        let link = value.link;
        self.set(register, Register { scalar, ..value });
        if link == ScalarId::NONE {
            return;
        }
        self.change(
            |held| held.is_scalar() && held.link.origin == link.origin,
            |held| {
                if let Some(follows) = held.link.follow(held.scalar, link, scalar) {
                    held.scalar = follows;
                }
            },
        );
    }

    /// A pointer that may be null is null, and its copies are (`mark_ptr_or_null_regs`). A record that is null was not
    /// reserved.
    fn mark_null(&mut self, pointer: &Register) {
        if pointer.reference != 0 && pointer.reference == pointer.id {
            self.references.retain(|reference| reference.id != pointer.reference);
        }
        self.change(is_copy_of(pointer), |held| *held = Register::constant(0));
    }

    /// The same for a pointer that is not null. It is one of the kind `becomes`.
    fn mark_not_null(&mut self, pointer: &Register, becomes: Kind, keeps_id: bool) {
        let id = if keeps_id { pointer.id } else { 0 };
        self.change(is_copy_of(pointer), |held| {
            *held = Register { kind: becomes, maybe_null: false, id, ..*held };
        });
    }
}

/// Whether a register holds the same pointer that may be null.
fn is_copy_of(pointer: &Register) -> impl Fn(&Register) -> bool {
    let (kind, id) = (pointer.kind, pointer.id);
    move |held| held.maybe_null && held.id == id && held.kind == kind
}

fn register(operand: Operand) -> Option<Reg> {
    match operand {
        Operand::Reg(register) => Some(register),
        Operand::Imm(_) => None,
    }
}

/// Whether a comparison of the number with itself holds, if that is known.
fn itself(width: Width, cond: Cond, number: Scalar) -> Option<bool> {
    match cond {
        Cond::Eq | Cond::Ge | Cond::Le | Cond::SGe | Cond::SLe => Some(true),
        Cond::Ne | Cond::Gt | Cond::Lt | Cond::SGt | Cond::SLt => Some(false),
        Cond::Set => match number.known_to(width) {
            Some(known) => Some(known != 0),
            None => number.sign_excludes_zero(width).then_some(true),
        },
    }
}
