//! What registers and stack may hold at every instruction, and what follows: `do_check()` in kernel/bpf/verifier.c.
//!
//! The kernel follows every way through the program; here all ways to an instruction are joined, so that one look at
//! each instruction is enough, or a few where there are loops. What is rejected is what must go wrong, and a program
//! whose r0 is not known to be 0 or 1 when it ends.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::{AluOp, AtomicOp, Cond, Operand, Reg, Size, Width};

use super::Rejection;
use super::state::{Abstract, State};
use super::structure::{Functions, successors, written};
use crate::Profile;
use crate::calls::Helper;
use crate::machine::{Step, arithmetic};

/// How often one instruction is looked at before the numbers that still change there are given up.
const LOOKS_MAX: u32 = 16;

pub(super) fn check(code: &[Step], functions: &Functions, profile: &Profile) -> Result<(), Rejection> {
    let callbacks: BTreeSet<usize> = code
        .iter()
        .filter_map(|step| if let Step::Function { start, .. } = step { Some(*start as usize) } else { None })
        .collect();
    let mut returns = BTreeMap::new();
    // Functions that are called come before their callers.
    let mut order = Vec::new();
    for &start in functions.keys() {
        visit(start, code, functions, &mut order);
    }
    for start in order {
        let end = functions.get(&start).copied().unwrap_or(code.len());
        let is_main = start == 0;
        let arguments = if is_main {
            [Abstract::Context, Abstract::Uninit, Abstract::Uninit, Abstract::Uninit, Abstract::Uninit]
        } else {
            [Abstract::Any; 5]
        };
        let bounded = match (is_main, callbacks.contains(&start)) {
            (true, _) => Some("program exit"),
            (false, true) => Some("callback return"),
            _ => None,
        };
        let mut flow = Flow { code, start, profile, returns: &returns, states: vec![None; end - start] };
        let returned = flow.run(State::entry(arguments), bounded)?;
        returns.insert(start, returned);
    }
    Ok(())
}

fn visit(start: usize, code: &[Step], functions: &Functions, order: &mut Vec<usize>) {
    if order.contains(&start) {
        return;
    }
    let end = functions.get(&start).copied().unwrap_or(code.len());
    for step in &code[start..end] {
        if let Step::Call { start } = step {
            visit(*start as usize, code, functions, order);
        }
    }
    order.push(start);
}

struct Flow<'a> {
    code: &'a [Step],
    start: usize,
    profile: &'a Profile,
    returns: &'a BTreeMap<usize, Abstract>,
    /// The state before each instruction of the function, and how often it was looked at.
    states: Vec<Option<(State, u32)>>,
}

impl Flow<'_> {
    /// Follows the function; what it returns.
    fn run(&mut self, entry: State, bounded: Option<&'static str>) -> Result<Abstract, Rejection> {
        let mut pending = BTreeSet::from([self.start]);
        self.states[0] = Some((entry, 0));
        while let Some(insn) = pending.pop_first() {
            let Some((known, looks)) = &mut self.states[insn - self.start] else { continue };
            *looks += 1;
            let mut state = known.clone();
            let step = self.code[insn];
            self.apply(step, insn, &mut state)?;
            for target in successors(step, insn) {
                let mut there = state.clone();
                if let Step::JumpIf { width, cond, dst, operand, target: jumps_to } = step {
                    // A jump to the next instruction says nothing.
                    if jumps_to as usize != insn + 1
                        && !refine(&mut there, width, cond, dst, operand, target != insn + 1)
                    {
                        continue;
                    }
                }
                match &mut self.states[target - self.start] {
                    Some((known, looks)) => {
                        if known.join(&there, *looks > LOOKS_MAX) {
                            pending.insert(target);
                        }
                    }
                    empty => {
                        *empty = Some((there, 0));
                        pending.insert(target);
                    }
                }
            }
        }
        self.returned(bounded)
    }

    fn returned(&self, bounded: Option<&'static str>) -> Result<Abstract, Rejection> {
        let mut returned: Option<Abstract> = None;
        for (index, state) in self.states.iter().enumerate() {
            let insn = self.start + index;
            let (Some((state, _)), Step::Exit) = (state, self.code[insn]) else { continue };
            let value = state.get(Reg::R0);
            if let (Some(at), true) = (bounded, !matches!(value, Abstract::Number { max: 0..=1, .. })) {
                let found = match value {
                    Abstract::Number { min, max } if min == max => format!("has value {}", min as i64),
                    Abstract::Number { max: u64::MAX, .. } => "has unknown scalar value".to_owned(),
                    Abstract::Number { min, max } => format!("has a value from {min} to {max}"),
                    _ => "is not a known value".to_owned(),
                };
                return Err(Rejection::ReturnValue { insn, at, found });
            }
            returned = Some(match (returned, value) {
                (Some(Abstract::Number { min: a, max: b }), Abstract::Number { min: c, max: d }) => {
                    Abstract::Number { min: a.min(c), max: b.max(d) }
                }
                (None, value) => value,
                (Some(before), value) if before == value => value,
                _ => Abstract::Any,
            });
        }
        // A function of which no exit is reached returns nothing to anybody.
        Ok(returned.unwrap_or(Abstract::Any))
    }

    /// What `step` makes of a state.
    fn apply(&self, step: Step, insn: usize, state: &mut State) -> Result<(), Rejection> {
        let read = |register: Reg| match state.get(register) {
            Abstract::Uninit => Err(Rejection::UninitRegister { insn, register: register.number() }),
            value => Ok(value),
        };
        let read_operand = |operand| match operand {
            Operand::Imm(imm) => Ok(Abstract::constant(i64::from(imm) as u64)),
            Operand::Reg(register) => read(register),
        };
        let result = match step {
            Step::Mov { width: Width::W64, operand, .. } => read_operand(operand)?,
            Step::Mov { width: Width::W32, operand, .. } => low_half(read_operand(operand)?),
            Step::Alu { width, op, dst, operand } => alu(width, op, read(dst)?, read_operand(operand)?),
            Step::MovSigned { src, .. } => unary(read(src)?, |value| moved(step, value)),
            Step::Neg { dst, .. } | Step::Swap { dst, .. } => unary(read(dst)?, |value| moved(step, value)),
            Step::Number { value, .. } => Abstract::constant(value),
            Step::MapValue { .. } => Abstract::Memory,
            Step::Map { .. } | Step::Function { .. } => Abstract::Any,
            Step::Load { size, signed, base, off, .. } => match read(base)? {
                Abstract::Context => {
                    self.context_load(insn, i64::from(off), size)?;
                    range_of(size, signed)
                }
                Abstract::Stack(at) => match self.stack(insn, at, off, size)? {
                    at if size == Size::U64 => state.load(at),
                    _ => range_of(size, signed),
                },
                Abstract::Any if size == Size::U64 => Abstract::Any,
                _ => range_of(size, signed),
            },
            Step::Store { size, base, off, operand } => {
                let value = read_operand(operand)?;
                match read(base)? {
                    Abstract::Context => self.context_store(insn, base, i64::from(off), size, operand)?,
                    Abstract::Stack(at) => {
                        let at = self.stack(insn, at, off, size)?;
                        state.store(at, i64::from(size.bytes()), value);
                    }
                    Abstract::Any => state.forget_stack(),
                    _ => {}
                }
                return Ok(());
            }
            Step::Atomic { op, size, base, off, src } => {
                read(src)?;
                if op == AtomicOp::CompareExchange {
                    read(Reg::R0)?;
                }
                match read(base)? {
                    Abstract::Context => {
                        let (off, size) = (i64::from(off), size.bytes() as usize);
                        return Err(Rejection::Context { insn, off, size });
                    }
                    Abstract::Stack(at) => {
                        let at = self.stack(insn, at, off, size)?;
                        state.forget(at, i64::from(size.bytes()));
                    }
                    Abstract::Any => state.forget_stack(),
                    _ => {}
                }
                range_of(size, false)
            }
            Step::JumpIf { dst, operand, .. } => {
                read(dst)?;
                read_operand(operand)?;
                return Ok(());
            }
            Step::Helper { helper } => {
                for register in &Reg::ALL[1..=usize::from(helper.arity())] {
                    read(*register)?;
                }
                forget_written(helper, state);
                state.called(returned_by(helper));
                return Ok(());
            }
            Step::Call { start } => {
                let is_number = |register: &Reg| {
                    matches!(
                        state.get(*register),
                        Abstract::Number { .. } | Abstract::Uninit | Abstract::Context
                    )
                };
                if !Reg::ALL[1..6].iter().all(is_number) {
                    state.forget_stack();
                }
                let returned = self.returns.get(&(start as usize)).copied().unwrap_or(Abstract::Any);
                state.called(if let Abstract::Stack(_) = returned { Abstract::Any } else { returned });
                return Ok(());
            }
            Step::Exit => {
                read(Reg::R0)?;
                return Ok(());
            }
            Step::Jump { .. } | Step::MayGoto { .. } | Step::SecondHalf => return Ok(()),
        };
        if let Some(register) = written(step) {
            state.set(register, result);
        }
        Ok(())
    }

    /// The place of an access to the stack, which must be within it.
    fn stack(&self, insn: usize, at: i64, off: i16, size: Size) -> Result<i64, Rejection> {
        let off = at.saturating_add(i64::from(off));
        let bytes = i64::from(size.bytes());
        if off < -512 || off > -bytes {
            return Err(Rejection::StackAccess { insn, off, size: bytes as usize });
        }
        Ok(off)
    }

    /// `sysctl_is_valid_access()` in kernel/bpf/cgroup.c.
    fn context_load(&self, insn: usize, off: i64, size: Size) -> Result<(), Rejection> {
        let bytes = i64::from(size.bytes());
        let valid = (0..8).contains(&off) && off % bytes == 0 && off % 4 + bytes <= 4;
        if valid { Ok(()) } else { Err(Rejection::Context { insn, off, size: bytes as usize }) }
    }

    fn context_store(
        &self,
        insn: usize,
        base: Reg,
        off: i64,
        size: Size,
        operand: Operand,
    ) -> Result<(), Rejection> {
        if matches!(operand, Operand::Imm(_)) && !self.profile.st_ctx {
            return Err(Rejection::StoreToContext { insn, register: base.number() });
        }
        let valid = (off, size) == (4, Size::U32);
        if valid { Ok(()) } else { Err(Rejection::Context { insn, off, size: size.bytes() as usize }) }
    }
}

/// Forgets the stack that a helper may write.
fn forget_written(helper: Helper, state: &mut State) {
    let (pointer, size) = match helper {
        Helper::SYSCTL_GET_NAME | Helper::SYSCTL_GET_CURRENT_VALUE | Helper::SYSCTL_GET_NEW_VALUE => {
            (Reg::R2, state.get(Reg::R3))
        }
        Helper::STRTOL | Helper::STRTOUL => (Reg::R4, Abstract::constant(8)),
        Helper::GET_CURRENT_COMM | Helper::SNPRINTF => (Reg::R1, state.get(Reg::R2)),
        Helper::MAP_POP_ELEM | Helper::MAP_PEEK_ELEM => (Reg::R2, Abstract::Any),
        Helper::LOOP | Helper::FOR_EACH_MAP_ELEM => {
            // The callback can reach all of the stack from a pointer to any of it.
            if !matches!(state.get(Reg::R3), Abstract::Number { .. }) {
                state.forget_stack();
            }
            return;
        }
        _ => return,
    };
    match (state.get(pointer), size) {
        (Abstract::Stack(at), Abstract::Number { max, .. }) => {
            state.forget(at, i64::try_from(max).unwrap_or(i64::MAX));
        }
        (Abstract::Stack(at), _) => state.forget(at, i64::MAX),
        (Abstract::Any, _) => state.forget_stack(),
        _ => {}
    }
}

fn returned_by(helper: Helper) -> Abstract {
    match helper {
        Helper::MAP_LOOKUP_ELEM
        | Helper::MAP_LOOKUP_PERCPU_ELEM
        | Helper::GET_LOCAL_STORAGE
        | Helper::RINGBUF_RESERVE => Abstract::Memory,
        Helper::RINGBUF_SUBMIT | Helper::RINGBUF_DISCARD | Helper::TAIL_CALL => Abstract::Uninit,
        Helper::GET_PRANDOM_U32 => range_of(Size::U32, false),
        _ => Abstract::UNKNOWN,
    }
}

fn range_of(size: Size, signed: bool) -> Abstract {
    if signed {
        return Abstract::UNKNOWN;
    }
    Abstract::Number { min: 0, max: u64::MAX >> (64 - size.bits()) }
}

fn low_half(value: Abstract) -> Abstract {
    match value {
        Abstract::Number { max, .. } if max <= u64::from(u32::MAX) => value,
        Abstract::Number { min, max } if min == max => Abstract::constant(u64::from(min as u32)),
        _ => range_of(Size::U32, false),
    }
}

fn unary(value: Abstract, compute: impl FnOnce(u64) -> u64) -> Abstract {
    match value {
        Abstract::Number { min, max } if min == max => Abstract::constant(compute(min)),
        _ => Abstract::UNKNOWN,
    }
}

/// What an operation with one operand makes of a number.
fn moved(step: Step, value: u64) -> u64 {
    match step {
        Step::MovSigned { width, size, .. } => arithmetic::sign_extend(width, size, value),
        Step::Neg { width, .. } => arithmetic::neg(width, value),
        Step::Swap { order, size, .. } => arithmetic::swap(order, size, value),
        _ => value,
    }
}

fn alu(width: Width, op: AluOp, left: Abstract, right: Abstract) -> Abstract {
    let (Abstract::Number { min, max }, Abstract::Number { min: low, max: high }) = (left, right) else {
        return match (left, right, op) {
            (Abstract::Stack(at), Abstract::Number { min, max }, AluOp::Add | AluOp::Sub)
                if min == max && width == Width::W64 =>
            {
                let by = if op == AluOp::Add { min as i64 } else { (min as i64).wrapping_neg() };
                Abstract::Stack(at.wrapping_add(by))
            }
            (Abstract::Memory, Abstract::Number { .. }, AluOp::Add | AluOp::Sub)
            | (Abstract::Number { .. }, Abstract::Memory, AluOp::Add)
                if width == Width::W64 =>
            {
                Abstract::Memory
            }
            _ => Abstract::Any,
        };
    };
    if min == max && low == high {
        return Abstract::constant(arithmetic::alu(width, op, min, low));
    }
    let limit = if width == Width::W32 { u64::from(u32::MAX) } else { u64::MAX };
    let unknown = Abstract::Number { min: 0, max: limit };
    if max > limit || high > limit {
        // The low half of either may be anything, and a mask is what still bounds it.
        return match op {
            AluOp::And => Abstract::Number { min: 0, max: limit.min(max.min(high)) },
            _ => unknown,
        };
    }
    match op {
        AluOp::And => Abstract::Number { min: 0, max: max.min(high) },
        AluOp::Or | AluOp::Xor => {
            let bits = 64 - (max | high).leading_zeros();
            Abstract::Number { min: 0, max: u64::MAX.checked_shr(64 - bits).unwrap_or(0) }
        }
        AluOp::Rsh if low == high && low < u64::from(if width == Width::W32 { 32u32 } else { 64 }) => {
            Abstract::Number { min: min >> low, max: max >> low }
        }
        AluOp::Mod if low == high && low > 0 => Abstract::Number { min: 0, max: max.min(low - 1) },
        AluOp::Div if low == high && low > 0 => Abstract::Number { min: min / low, max: max / low },
        AluOp::Add => match max.checked_add(high).filter(|max| *max <= limit) {
            Some(max) => Abstract::Number { min: min + low, max },
            None => unknown,
        },
        AluOp::Sub if min >= high => Abstract::Number { min: min - high, max: max - low },
        _ => unknown,
    }
}

/// What a register holds where a comparison with a constant came out as `holds`; `false` where it cannot come out so.
fn refine(state: &mut State, width: Width, cond: Cond, dst: Reg, operand: Operand, holds: bool) -> bool {
    let (min, max) = match state.get(dst) {
        Abstract::Number { min, max } => (min, max),
        // What may be a pointer or null, and compares equal to a constant, is that constant.
        Abstract::Any | Abstract::Memory => (0, u64::MAX),
        _ => return true,
    };
    let right = match operand {
        Operand::Imm(imm) => Abstract::constant(i64::from(imm) as u64),
        Operand::Reg(register) => state.get(register),
    };
    let Abstract::Number { min: value, max: high } = right else { return true };
    if value != high {
        return true;
    }
    let equals = matches!((cond, holds), (Cond::Eq, true) | (Cond::Ne, false)) && width == Width::W64;
    if matches!(state.get(dst), Abstract::Any | Abstract::Memory) && !equals {
        return true;
    }
    if width == Width::W32 && (max > u64::from(u32::MAX) >> 1 || value > u64::from(u32::MAX) >> 1) {
        // The low halves would compare otherwise than the whole numbers do.
        let known = min == max;
        return !known || arithmetic::holds(width, cond, min, value) == holds;
    }
    if min == max {
        return arithmetic::holds(width, cond, min, value) == holds;
    }
    let cond = match (holds, cond.inverse()) {
        (true, _) => cond,
        (false, Some(inverse)) => inverse,
        (false, None) => return true,
    };
    let both_positive = max <= i64::MAX as u64 && value <= i64::MAX as u64;
    let (min, max) = match cond {
        Cond::Eq => (min.max(value), max.min(value)),
        Cond::Ne if min == value => (min + 1, max),
        Cond::Ne if max == value => (min, max - 1),
        Cond::Gt => match value.checked_add(1) {
            Some(above) => (min.max(above), max),
            None => return false,
        },
        Cond::SGt if both_positive => (min.max(value + 1), max),
        Cond::Ge => (min.max(value), max),
        Cond::SGe if both_positive => (min.max(value), max),
        Cond::Lt => match value.checked_sub(1) {
            Some(below) => (min, max.min(below)),
            None => return false,
        },
        Cond::SLt if both_positive && value > 0 => (min, max.min(value - 1)),
        Cond::Le => (min, max.min(value)),
        Cond::SLe if both_positive => (min, max.min(value)),
        _ => return true,
    };
    if min > max {
        return false;
    }
    state.set(dst, Abstract::Number { min, max });
    true
}
