//! Follows every path through the program: `do_check()`.

use knobgate_bpf::uapi::BPF_COMPLEXITY_LIMIT_INSNS;
use knobgate_bpf::{AtomicOp, Reg, Size};
use std::collections::BTreeMap;

use super::Rejection;
use super::env::VerifierEnv;
use super::explored::Explored;
use super::memory::{Access, Accessed};
use super::precision::{self, Wanted};
use super::register::{Kind, Register, ScalarId, index};
use super::return_value::check_returned;
use super::spin_lock::have_only_ids;
use super::stack_access::Stored;
use super::stack_liveness::{StackAccesses, StackLiveness};
use super::state::{Frame, State};
use super::structure::is_wide;
use super::violation::Violation;
use crate::step::Step;

/// `BPF_COMPLEXITY_LIMIT_JMP_SEQ`
const JUMPS_MAX: usize = 8192;

/// Where a path goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Insn(usize),
    /// The path has ended.
    Done,
}

/// The verifier, on one path.
pub(super) struct Verifier<'a> {
    pub(super) env: &'a VerifierEnv<'a>,
    pub(super) state: State,
    /// The states of the other paths, of which the last is followed next.
    pending: Vec<State>,
    pub(super) explored: Explored,
    pub(super) stack_liveness: StackLiveness,
    /// What the current instruction does with the stack.
    pub(super) stack_accesses: StackAccesses,
    /// Whether the current instruction has an entry in the history.
    pub(super) has_history: bool,
    /// For each instruction that accesses memory, what that is.
    pub(super) accessed: Vec<Option<Accessed>>,
    /// How many bytes of stack each function uses, by its first instruction.
    stack_depths: BTreeMap<usize, usize>,
    ids: u32,
    pub(super) insns_processed: u32,
    pub(super) jumps_processed: u32,
}

/// What is known after all paths were followed.
pub(super) struct Followed {
    /// How many bytes of stack each function uses, by its first instruction.
    pub(super) stack_depths: BTreeMap<usize, usize>,
    /// Whether a path gets to each instruction.
    pub(super) seen: Vec<bool>,
}

/// Follows every path.
pub(super) fn check(env: &VerifierEnv<'_>) -> Result<Followed, Rejection> {
    let mut seen = vec![false; env.code.len()];
    let mut verifier = Verifier {
        env,
        state: State::entry(),
        pending: Vec::new(),
        explored: Explored::new(env.code.len()),
        stack_liveness: StackLiveness::new(),
        stack_accesses: StackAccesses::default(),
        has_history: false,
        accessed: vec![None; env.code.len()],
        stack_depths: BTreeMap::new(),
        ids: 0,
        insns_processed: 0,
        jumps_processed: 0,
    };
    loop {
        let insn = verifier.state.insn;
        if let Some(rejection) = env.rejected.get(&insn) {
            return Err(rejection.clone());
        }
        seen[insn] = true;
        match verifier.step() {
            Ok(Next::Insn(insn)) => {
                verifier.state.last_insn = verifier.state.insn;
                verifier.state.insn = insn;
            }
            Ok(Next::Done) => {
                verifier.explored.end_path(env, verifier.state.parent);
                match verifier.pending.pop() {
                    Some(state) => verifier.state = state,
                    None => return Ok(Followed { stack_depths: verifier.stack_depths, seen }),
                }
            }
            Err(violation) => return Err(Rejection::Unsafe { insn: verifier.state.insn, violation }),
        }
    }
}

impl Verifier<'_> {
    /// Looks at the current instruction.
    fn step(&mut self) -> Result<Next, Violation> {
        self.has_history = false;
        self.insns_processed += 1;
        if self.insns_processed as usize > BPF_COMPLEXITY_LIMIT_INSNS {
            return Err(Violation::TooManyInsns { processed: self.insns_processed });
        }
        let insn = self.state.insn;
        let point = self.env.flow.points[insn];
        if point.is_prune && self.is_visited()? {
            return Ok(Next::Done);
        }
        if point.is_jump {
            self.history_entry();
        }
        let (instance, top) = (self.state.frame().instance, self.state.top());
        let next = self.insn(self.env.code[insn])?;
        for frame in 0..top {
            let (read, _) = self.stack_accesses.take(frame);
            if read != 0 {
                let caller = self.state.frames[frame].instance;
                // A callee may or may not write what its caller has on the stack.
                self.stack_liveness.commit(caller, self.state.insn_of(frame), (read, 0));
            }
        }
        let accesses = self.stack_accesses.take(top);
        self.stack_liveness.commit(instance, insn, accesses);
        Ok(next)
    }

    fn insn(&mut self, step: Step) -> Result<Next, Violation> {
        let insn = self.state.insn;
        match step {
            Step::Alu { width, op, dst, operand } => self.alu(width, op, dst, operand)?,
            Step::Mov { width, dst, operand } => self.mov(width, dst, operand)?,
            Step::MovSigned { width, size, dst, src } => self.mov_signed(width, size, dst, src)?,
            Step::Neg { width, dst } => self.neg(width, dst)?,
            Step::Swap { order, size, dst } => self.swap(order, size, dst)?,
            Step::Load { size, signed, dst, base, off } => self.load(size, signed, dst, base, off)?,
            Step::Store { size, base, off, operand } => self.store(size, base, off, operand)?,
            Step::Atomic { op, size, base, off, src } => self.atomic(op, size, base, off, src)?,
            Step::Number { dst, value } => self.load_imm64(dst, Register::constant(value))?,
            Step::Map { dst, map } => self.load_imm64(dst, Register::pointer(Kind::Map(map)))?,
            Step::MapValue { dst, map, offset } => {
                let value = if have_only_ids(self.env.profile) {
                    self.existing_value(map)
                } else {
                    Register::pointer(Kind::MapValue(map))
                };
                self.load_imm64(dst, Register { off: offset as i32, ..value })?;
            }
            Step::Function { dst, start } => {
                self.load_imm64(dst, Register::pointer(Kind::Function(start)))?;
            }
            Step::Jump { target } => {
                self.jumps_processed += 1;
                return Ok(Next::Insn(target as usize));
            }
            Step::JumpIf { width, cond, dst, operand, target } => {
                self.jumps_processed += 1;
                return self.jump_if(width, cond, dst, operand, target as usize);
            }
            Step::MayGoto { target } => {
                self.jumps_processed += 1;
                return self.may_goto(target as usize);
            }
            Step::Helper { helper } => {
                self.jumps_processed += 1;
                return self.call_helper(helper);
            }
            Step::Call { start } => {
                self.jumps_processed += 1;
                return self.call(start as usize);
            }
            Step::Exit => {
                self.jumps_processed += 1;
                return self.exit();
            }
            Step::SecondHalf | Step::Rejected => {}
        }
        Ok(Next::Insn(insn + if is_wide(&step) { 2 } else { 1 }))
    }

    fn load_imm64(&mut self, dst: Reg, value: Register) -> Result<(), Violation> {
        self.check_written(dst)?;
        self.state.set(dst, value);
        Ok(())
    }

    /// `check_atomic_rmw()`
    fn atomic(&mut self, op: AtomicOp, size: Size, base: Reg, off: i16, src: Reg) -> Result<(), Violation> {
        self.read(src)?;
        self.read(base)?;
        if op == AtomicOp::CompareExchange {
            self.read(Reg::R0)?;
        }
        let pointer = self.state.get(base);
        if pointer.kind == Kind::Context {
            return Err(Violation::AtomicOn { register: base.number(), of: pointer.type_name() });
        }
        let fetched = match op {
            AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => None,
            AtomicOp::CompareExchange => Some(Reg::R0),
            _ => Some(src),
        };
        if let Some(fetched) = fetched {
            self.check_written(fetched)?;
            self.state.set(fetched, Register::UNKNOWN);
        }
        let access = Access { base, off, size, aligned: true };
        let old = self.check_load(access, false)?;
        if let (Some(fetched), true) = (fetched, fetched != Some(base)) {
            self.state.set(fetched, old);
        }
        self.check_store(access, Stored::Unknown)
    }

    /// Calls a function of the program: `check_func_call()`.
    fn call(&mut self, start: usize) -> Result<Next, Violation> {
        self.state.check_call_with_lock(self.env.profile)?;
        let frames = self.state.frames.len();
        if frames >= self.env.profile.call_frames {
            return Err(Violation::TooDeep { frames: frames + 1 });
        }
        let insn = self.state.insn;
        let instance = self.stack_liveness.instance(self.state.frame().instance, insn, start);
        let mut callee = Frame::new(start, insn, instance);
        let caller = self.state.frame_mut();
        callee.registers[1..6].copy_from_slice(&caller.registers[1..6]);
        caller.clobber_arguments();
        caller.registers[0] = Register::UNINIT;
        self.state.frames.push(callee);
        Ok(Next::Insn(start))
    }

    pub(super) fn exit(&mut self) -> Result<Next, Violation> {
        self.state.check_exit_with_lock(self.env.profile)?;
        let Some(callee) = (self.state.frames.len() > 1).then(|| self.state.frame().clone()) else {
            return self.exit_program();
        };
        let value = callee.registers[0];
        if let Kind::Stack(_) = value.kind {
            return Err(Violation::ReturnsStackPointer);
        }
        if callee.is_callback {
            if !value.is_scalar() {
                return Err(Violation::CallbackReturnsPointer);
            }
            self.mark_precise(Reg::R0);
            check_returned("callback return", &value)?;
        }
        self.state.frames.pop();
        if !callee.is_callback {
            self.state.frame_mut().registers[0] = value;
            return Ok(Next::Insn(callee.callsite + 1));
        }
        if self.env.profile.version < (6, 7) {
            return Ok(Next::Insn(callee.callsite + 1));
        }
        if let Some(before) = self.explored.previous_entry(&self.state, callee.callsite, self.state.depth) {
            super::widening::widen(self.explored.get(before), &mut self.state);
        }
        Ok(Next::Insn(callee.callsite))
    }

    fn exit_program(&mut self) -> Result<Next, Violation> {
        if let Some(reference) = self.state.references.first() {
            return Err(Violation::Unreleased { insn: reference.insn });
        }
        let value = self.read(Reg::R0)?;
        if !value.is_scalar() {
            return Err(Violation::ReturnsPointer { found: value.type_name() });
        }
        // Before 6.8, `check_return_code` asked for no precision.
        if self.env.profile.version >= (6, 8) {
            self.mark_precise(Reg::R0);
        }
        check_returned("program exit", &value)?;
        Ok(Next::Done)
    }

    /// Adds a state to follow later, at `insn`: `push_stack()`.
    pub(super) fn push(&mut self, insn: usize, state: State) -> Result<(), Violation> {
        if self.pending.len() >= JUMPS_MAX {
            return Err(Violation::TooManyJumps { jumps: self.pending.len() + 1 });
        }
        if let Some(parent) = state.parent {
            self.explored.add_branch(parent);
        }
        self.pending.push(State { last_insn: self.state.insn, insn, ..state });
        Ok(())
    }

    /// The value of a register, which must be initialized.
    pub(super) fn read(&self, register: Reg) -> Result<Register, Violation> {
        let value = self.state.get(register);
        match value.kind {
            Kind::Uninit => Err(Violation::UninitRegister { register: register.number() }),
            _ => Ok(value),
        }
    }

    /// The register that is written is not the frame pointer.
    pub(super) fn check_written(&self, register: Reg) -> Result<(), Violation> {
        if register == Reg::R10 { Err(Violation::FramePointer) } else { Ok(()) }
    }

    pub(super) fn new_id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    /// The link of a number that is about to be copied: `assign_scalar_id_before_mov()`.
    pub(super) fn link(&mut self, register: Reg) -> ScalarId {
        let value = self.state.get(register);
        if !value.is_scalar() || value.link != ScalarId::NONE || value.scalar.known().is_some() {
            return value.link;
        }
        let link = ScalarId::new(self.new_id());
        self.state.set(register, Register { link, ..value });
        link
    }

    /// The value of a register, linked to the copy that is made now.
    pub(super) fn linked(&mut self, register: Reg) -> Register {
        self.link(register);
        self.state.get(register)
    }

    /// The same for a number on the stack.
    pub(super) fn link_slot(&mut self, frame: usize, slot: usize) {
        let spilled = self.state.frames[frame].stack[slot].spilled;
        if spilled.is_scalar() && spilled.link == ScalarId::NONE && spilled.scalar.known().is_none() {
            let link = ScalarId::new(self.new_id());
            self.state.frames[frame].slot_mut(slot).spilled.link = link;
        }
    }

    /// Notes that a function accesses its stack down to `off`.
    pub(super) fn use_stack(&mut self, function: usize, off: i64) {
        let depth = self.stack_depths.entry(function).or_default();
        *depth = (*depth).max((-off).max(0) as usize);
    }

    pub(super) fn push_stack_history(&mut self, frame: usize, slot: usize) {
        self.history_entry().stack = Some((frame as u8, slot as u8));
    }

    /// The number in a register matters from here on: `mark_chain_precision()`.
    pub(super) fn mark_precise(&mut self, register: Reg) {
        if register != Reg::R10 && self.state.get(register).is_scalar() {
            let wanted = Wanted::of_register(self.state.top(), index(register));
            precision::mark(self.env, &mut self.explored, &self.state, wanted);
        }
    }

    /// The same for a number on the stack.
    pub(super) fn mark_slot_precise(&mut self, frame: usize, slot: usize) {
        let wanted = Wanted::of_slot(self.state.top(), frame, slot);
        precision::mark(self.env, &mut self.explored, &self.state, wanted);
    }
}
