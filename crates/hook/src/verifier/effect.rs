//! The effect of each instruction on a state: `do_check_insn()` and `check_helper_call()` in kernel/bpf/verifier.c.

use std::collections::BTreeMap;

use knobgate_bpf::{
    AluOp, ArgType, AtomicOp, Helper, MapDef, MapKind, Operand, Program, Reg, ReturnType, Size, Unresolved,
    Width, helper_ids,
};

use super::Rejection;
use super::return_value::check_retval;
use super::scalar::Scalar;
use super::state::{Abstract, FuncState, ScalarId};
use super::structure::written;
use crate::constants::MAX_BPF_STACK;
use crate::context::{AccessType, sysctl_is_valid_access};
use crate::step::Step;
use crate::{Profile, arithmetic};

/// The return values of functions, by their first instruction.
pub(super) type Returns = BTreeMap<usize, Abstract>;

/// What the verifier knows besides the code.
pub(super) struct VerifierEnv<'a> {
    pub(super) profile: &'a Profile,
    pub(super) maps: &'a [MapDef],
    pub(super) unresolved: &'a [Unresolved],
}

impl<'a> VerifierEnv<'a> {
    pub(super) fn of(program: &'a Program, profile: &'a Profile) -> Self {
        Self { profile, maps: &program.maps, unresolved: &program.unresolved }
    }
}

impl VerifierEnv<'_> {
    /// Whether `bpf_map_lookup_elem` cannot return null, as for an array with a known index (`can_elide_value_nullness`,
    /// since 6.14).
    fn never_null(&self, state: &FuncState) -> bool {
        let (Abstract::Map(map), Abstract::Stack(key)) = (state.get(Reg::R1), state.get(Reg::R2)) else {
            return false;
        };
        let Abstract::Number(index, _) = state.load(key, Size::U32, false) else { return false };
        self.profile.version >= (6, 14)
            && self.maps.get(usize::from(map)).is_some_and(|map| {
                matches!(map.kind, MapKind::Array | MapKind::PercpuArray)
                    && index.known().is_some_and(|index| index < u64::from(map.max_entries))
            })
    }

    /// Whether the map in r1 has maps in it.
    fn looks_up_map(&self, state: &FuncState) -> bool {
        let Abstract::Map(map) = state.get(Reg::R1) else { return false };
        self.maps.get(usize::from(map)).is_some_and(|map| map.kind.has_inner_maps())
    }

    /// The rejection of a write to the kernel's `struct bpf_map`, which root may read.
    fn writes_description(&self, insn: usize, map: u16) -> Rejection {
        let description = match self.maps.get(usize::from(map)).map(|map| map.kind) {
            Some(MapKind::Hash | MapKind::PercpuHash | MapKind::LruHash | MapKind::LruPercpuHash) => {
                "bpf_htab"
            }
            Some(MapKind::LpmTrie) => "lpm_trie",
            Some(MapKind::Queue | MapKind::Stack) => "bpf_queue_stack",
            Some(MapKind::Ringbuf) => "bpf_ringbuf_map",
            _ => "bpf_array",
        };
        Rejection::MapDescription { insn, description }
    }
}

/// Applies `step` to a state.
pub(super) fn apply(
    step: Step,
    insn: usize,
    state: &mut FuncState,
    env: &VerifierEnv<'_>,
    returns: &Returns,
) -> Result<(), Rejection> {
    let read = |register: Reg| match state.get(register) {
        Abstract::Uninit => Err(Rejection::UninitRegister { insn, register: register.number() }),
        value => Ok(value),
    };
    let read_operand = |operand| match operand {
        Operand::Imm(imm) => Ok(Abstract::constant(i64::from(imm) as u64)),
        Operand::Reg(register) => read(register),
    };
    let accessed = |base: Reg| {
        let found = match read(base)? {
            Abstract::Number(..) => "scalar",
            Abstract::MemoryOrNull(_) => "map_value_or_null",
            value => return Ok(value),
        };
        Err(Rejection::MemoryAccess { insn, register: base.number(), found })
    };
    if written(step) == Some(Reg::R10) {
        return Err(Rejection::FramePointer { insn });
    }
    let fresh = insn as u32 + 1;
    let result = match step {
        Step::Mov { width: Width::W64, dst, operand: Operand::Reg(src) } => {
            read(src)?;
            let value = state.linked(src, fresh);
            state.set(dst, value);
            return Ok(());
        }
        // A truncated or extended number stays linked if that does not change it.
        Step::Mov { width: Width::W32, dst, operand: Operand::Reg(src) }
            if read(src)?.is_at_most(u64::from(u32::MAX)) =>
        {
            let value = state.linked(src, fresh);
            state.set(dst, value);
            return Ok(());
        }
        Step::MovSigned { size, dst, src, .. }
            if read(src)?.is_at_most(u64::MAX >> (64 - size.bits()) >> 1) =>
        {
            let value = state.linked(src, fresh);
            state.set(dst, value);
            return Ok(());
        }
        Step::Mov { width: Width::W64, operand, .. } => read_operand(operand)?,
        Step::Mov { width: Width::W32, operand, .. } => low_half(read_operand(operand)?),
        Step::Alu { width, op, dst, operand } => {
            alu(env.profile, width, op, read(dst)?, read_operand(operand)?)
        }
        Step::MovSigned { width, size, src, .. } => match read(src)? {
            Abstract::Number(scalar, _) => Abstract::Number(scalar.lowest(size, width, true), ScalarId::NONE),
            _ => Abstract::UNKNOWN,
        },
        Step::Neg { width, dst } => match read(dst)? {
            Abstract::Number(scalar, _) => Abstract::Number(
                Scalar::compute(width, AluOp::Sub, Scalar::constant(0), scalar),
                ScalarId::NONE,
            ),
            _ => Abstract::UNKNOWN,
        },
        Step::Swap { order, size, dst } => match read(dst)? {
            Abstract::Number(scalar, _) => match scalar.known() {
                Some(known) => Abstract::constant(arithmetic::swap(order, size, known)),
                None => Abstract::of_size(size),
            },
            _ => Abstract::of_size(size),
        },
        Step::Number { value, .. } => Abstract::constant(value),
        Step::MapValue { .. } => Abstract::Memory,
        Step::Map { map, .. } => Abstract::Map(map),
        Step::Function { .. } => Abstract::Any,
        Step::Load { size, signed, base, off, .. } => match accessed(base)? {
            Abstract::Context => {
                context_load(insn, off, size)?;
                range_of(size, signed)
            }
            Abstract::Stack(at) => state.load(stack(insn, at, off, size)?, size, signed),
            // The kernel's `struct bpf_map` has pointers in it.
            Abstract::Any | Abstract::Map(_) if size == Size::U64 => Abstract::Any,
            _ => range_of(size, signed),
        },
        Step::Store { size, base, off, operand } => {
            let value = read_operand(operand)?;
            match accessed(base)? {
                Abstract::Context => {
                    context_store(env.profile, insn, base, off, size, operand)?;
                }
                Abstract::Stack(at) => {
                    let at = stack(insn, at, off, size)?;
                    let value = match operand {
                        Operand::Reg(src) if value.is_at_most(u64::MAX >> (64 - size.bits())) => {
                            state.linked(src, fresh)
                        }
                        _ => value,
                    };
                    state.store(at, size, value);
                }
                Abstract::Map(map) => return Err(env.writes_description(insn, map)),
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
            match accessed(base)? {
                Abstract::Context => {
                    let (off, size) = (i64::from(off), size.bytes() as usize);
                    return Err(Rejection::Context { insn, off, size });
                }
                Abstract::Stack(at) => {
                    let at = stack(insn, at, off, size)?;
                    state.forget(at, i64::from(size.bytes()));
                }
                Abstract::Map(map) => return Err(env.writes_description(insn, map)),
                Abstract::Any => state.forget_stack(),
                _ => {}
            }
            Abstract::of_size(size)
        }
        Step::JumpIf { dst, operand, .. } => {
            read(dst)?;
            read_operand(operand)?;
            return Ok(());
        }
        Step::Unresolved => return Err(Rejection::unresolved(insn, env.unresolved)),
        Step::Helper { helper } => {
            let arguments = Reg::ALL[1..].iter().zip(helper.args());
            for (register, _) in arguments.clone() {
                read(*register)?;
            }
            for (register, arg_type) in arguments {
                if let (ArgType::ConstSize, Abstract::Number(size, _)) = (arg_type, state.get(*register))
                    && size.unsigned.min == 0
                {
                    return Err(Rejection::ZeroSize { insn, register: register.number() });
                }
            }
            if helper.id == helper_ids::SET_RETVAL && env.profile.set_retval_checked {
                check_retval(insn, state.get(Reg::R1))?;
            }
            let returned = returned_by(helper, fresh, state, env);
            invalidate_written(helper, state);
            state.called(returned);
            return Ok(());
        }
        Step::Call { start } => {
            let is_number = |register: &Reg| {
                matches!(
                    state.get(*register),
                    Abstract::Number(..)
                        | Abstract::Uninit
                        | Abstract::Context
                        | Abstract::Map(_)
                        | Abstract::Memory
                        | Abstract::MemoryOrNull(_)
                )
            };
            if !Reg::ALL[1..6].iter().all(is_number) {
                state.forget_stack();
            }
            let returned = returns.get(&(start as usize)).copied().unwrap_or(Abstract::Any);
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

/// The stack offset of an access, which must be in bounds.
fn stack(insn: usize, at: i64, off: i16, size: Size) -> Result<i64, Rejection> {
    let off = at.saturating_add(i64::from(off));
    let bytes = i64::from(size.bytes());
    if off < -(MAX_BPF_STACK as i64) || off > -bytes {
        return Err(Rejection::StackAccess { insn, off, size: bytes as usize });
    }
    Ok(off)
}

fn context_load(insn: usize, off: i16, size: Size) -> Result<(), Rejection> {
    let valid = sysctl_is_valid_access(off, size, AccessType::Read);
    if valid {
        Ok(())
    } else {
        Err(Rejection::Context { insn, off: off.into(), size: size.bytes() as usize })
    }
}

fn context_store(
    profile: &Profile,
    insn: usize,
    base: Reg,
    off: i16,
    size: Size,
    operand: Operand,
) -> Result<(), Rejection> {
    if matches!(operand, Operand::Imm(_)) && !profile.st_ctx {
        return Err(Rejection::StoreToContext { insn, register: base.number() });
    }
    let valid = sysctl_is_valid_access(off, size, AccessType::Write);
    if valid {
        Ok(())
    } else {
        Err(Rejection::Context { insn, off: off.into(), size: size.bytes() as usize })
    }
}

/// Invalidates the stack that a helper may write.
fn invalidate_written(helper: &Helper, state: &mut FuncState) {
    for (number, arg_type) in (1..).zip(helper.args()) {
        let pointer = state.get(Reg::ALL[number]);
        let size = match arg_type {
            ArgType::WritableMem | ArgType::WritableMemOrNull | ArgType::UninitMem => {
                state.get(Reg::ALL[number + 1])
            }
            ArgType::UninitLong => Abstract::constant(8),
            ArgType::UninitDynptr => Abstract::constant(16),
            ArgType::UninitMapValue => Abstract::Any,
            // The callback can reach all of the stack from a pointer to any of it.
            ArgType::StackOrNull if !matches!(pointer, Abstract::Number(..)) => {
                state.forget_stack();
                continue;
            }
            _ => continue,
        };
        match (pointer, size) {
            (Abstract::Stack(at), Abstract::Number(size, _)) => {
                state.forget(at, i64::try_from(size.unsigned.max).unwrap_or(i64::MAX));
            }
            (Abstract::Stack(at), _) => state.forget(at, i64::MAX),
            (Abstract::Any, _) => state.forget_stack(),
            _ => {}
        }
    }
}

fn returned_by(helper: &Helper, fresh: u32, state: &FuncState, env: &VerifierEnv<'_>) -> Abstract {
    match helper.proto.as_ref().map(|proto| proto.ret) {
        // A map, or null.
        Some(ReturnType::MapValueOrNull) if env.looks_up_map(state) => Abstract::Any,
        Some(ReturnType::MapValueOrNull)
            if helper.id == helper_ids::MAP_LOOKUP_ELEM && env.never_null(state) =>
        {
            Abstract::Memory
        }
        Some(ReturnType::MapValueOrNull | ReturnType::RingbufMemOrNull | ReturnType::DynptrMemOrNull) => {
            Abstract::MemoryOrNull(fresh)
        }
        // Loads through it give pointers.
        Some(ReturnType::Task) => Abstract::Any,
        Some(ReturnType::MapValue) => Abstract::Memory,
        Some(ReturnType::Void) => Abstract::Uninit,
        _ if helper.id == helper_ids::GET_PRANDOM_U32 => Abstract::of_size(Size::U32),
        _ => Abstract::UNKNOWN,
    }
}

/// A value that is read from memory without pointers.
fn range_of(size: Size, signed: bool) -> Abstract {
    let scalar = Scalar::of_size(size);
    Abstract::Number(
        if signed { Scalar::UNKNOWN.lowest(size, Width::W64, true) } else { scalar },
        ScalarId::NONE,
    )
}

fn low_half(value: Abstract) -> Abstract {
    match value {
        Abstract::Number(scalar, _) => Abstract::Number(scalar.low_half(), ScalarId::NONE),
        _ => Abstract::of_size(Size::U32),
    }
}

/// `left op right`: numbers, and pointer arithmetic.
fn alu(profile: &Profile, width: Width, op: AluOp, left: Abstract, right: Abstract) -> Abstract {
    let moves = width == Width::W64 && matches!(op, AluOp::Add | AluOp::Sub);
    match (left, right) {
        (Abstract::Number(a, link), Abstract::Number(b, _)) => {
            let divides = matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod);
            let result = match b.known_to(width).filter(|_| divides && profile.divisions_followed) {
                Some(divisor) => a.divided(width, op, divisor),
                None => Scalar::compute(width, op, a, b),
            };
            let by = match (op, b.known()) {
                (AluOp::Add, Some(by)) => Some(by as i64),
                (AluOp::Sub, Some(by)) => Some((by as i64).wrapping_neg()),
                _ => None,
            };
            let wraps = width == Width::W32 && Scalar::compute(Width::W64, op, a, b) != result;
            Abstract::Number(result, by.map_or(ScalarId::NONE, |by| link.moved(by, wraps)))
        }
        (Abstract::Stack(at), Abstract::Number(by, _)) if moves => match by.known() {
            Some(by) if op == AluOp::Add => Abstract::Stack(at.wrapping_add(by as i64)),
            Some(by) => Abstract::Stack(at.wrapping_sub(by as i64)),
            None => Abstract::Any,
        },
        (memory @ (Abstract::Memory | Abstract::MemoryOrNull(_)), Abstract::Number(..)) if moves => memory,
        (Abstract::Number(..), memory @ (Abstract::Memory | Abstract::MemoryOrNull(_)))
            if moves && op == AluOp::Add =>
        {
            memory
        }
        _ => Abstract::Any,
    }
}
