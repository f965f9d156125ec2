//! The interpreter.

use knobgate_bpf::{AluOp, AtomicOp, Cond, Operand, Operation, Reg, Size, Width};

use super::loaded::{Loaded, LoadedProgram};
use super::memory::Memory;
use super::stack::Stack;
use super::{Fault, Reason, Region, Step, Surroundings, TraceStep, Tracer, Value, arithmetic};
use crate::Invocation;

/// How often `may_goto` goes on in one function: `BPF_MAX_LOOPS` in include/linux/bpf.h.
const MAY_GOTO_MAX: u32 = 8 << 20;

/// One run of a program.
pub(crate) struct Machine<'r, 'i> {
    program: LoadedProgram,
    /// The index in the run of the program's first map.
    first_map: u16,
    pc: usize,
    registers: [Value; 11],
    frames: Vec<Frame>,
    may_goto_left: u32,
    tail_calls: u32,
    pub(crate) memory: Memory,
    pub(crate) invocation: &'r mut Invocation<'i>,
    pub(crate) surroundings: &'r mut Surroundings,
    pub(crate) tracer: Option<&'r mut dyn Tracer>,
}

/// What a function goes back to.
struct Frame {
    program: LoadedProgram,
    first_map: u16,
    pc: usize,
    saved: [Value; 4],
    may_goto_left: u32,
    continuation: Continuation,
}

/// What happens when a function ends.
#[derive(Debug, Clone)]
pub(crate) enum Continuation {
    /// Its caller goes on with what it returns.
    Return,
    /// `bpf_loop` calls it again, until it has been called `count` times.
    Loop { callback: u32, index: u64, count: u64, context: Value },
    /// `bpf_for_each_map_elem` calls it with the next entry.
    ForEach { callback: u32, map: u16, key: Vec<u8>, called: u64, context: Value },
}

type Done<T = ()> = Result<T, Reason>;

impl<'r, 'i> Machine<'r, 'i> {
    pub(super) fn new(
        program: &LoadedProgram,
        invocation: &'r mut Invocation<'i>,
        surroundings: &'r mut Surroundings,
        tracer: Option<&'r mut dyn Tracer>,
    ) -> Self {
        let stack = Stack::new(invocation.profile.uninit_stack);
        let memory = Memory { stack, maps: program.0.maps.clone(), records: Vec::new(), keys: Vec::new() };
        let mut machine = Self {
            program: program.clone(),
            first_map: 0,
            pc: 0,
            registers: [Value::UNINIT; 11],
            frames: Vec::new(),
            may_goto_left: MAY_GOTO_MAX,
            tail_calls: 0,
            memory,
            invocation,
            surroundings,
            tracer,
        };
        machine.registers[Reg::R10 as usize] = machine.memory.stack.frame_pointer();
        machine.registers[Reg::R1 as usize] = Value::start_of(Region::Context);
        machine
    }

    pub(super) fn run(mut self, budget: u64) -> Result<u64, Fault> {
        let mut left = budget;
        loop {
            if left == 0 {
                return Err(self.fault(Reason::Budget { budget }));
            }
            left -= 1;
            if self.tracer.is_some() {
                self.trace();
            }
            match self.step() {
                Ok(None) => {}
                Ok(Some(returned)) => return Ok(returned),
                Err(reason) => return Err(self.fault(reason)),
            }
        }
    }

    #[cold]
    fn fault(&self, reason: Reason) -> Fault {
        let Loaded { name, insns, .. } = &*self.program.0;
        let text = match operation_at(insns, self.pc) {
            Some(operation) => operation.to_string(),
            None => "no instruction".to_owned(),
        };
        Fault { program: name.clone(), insn: self.pc, text, reason }
    }

    #[cold]
    fn trace(&mut self) {
        let Loaded { name, insns, .. } = &*self.program.0;
        let (Some(tracer), Some(operation)) = (&mut self.tracer, operation_at(insns, self.pc)) else {
            return;
        };
        tracer.instruction(&TraceStep {
            program: name,
            insn: self.pc,
            operation,
            depth: self.frames.len(),
            registers: &self.registers,
        });
    }

    /// Runs one instruction; returns what the program returns, if it does. When it fails, `pc` stays.
    #[inline]
    fn step(&mut self) -> Done<Option<u64>> {
        let Some(&step) = self.program.0.code.get(self.pc) else { return Err(Reason::NoInstruction) };
        match step {
            Step::Alu { width, op, dst, operand } => {
                let (left, right) = (self.read(dst)?, self.operand(operand)?);
                let result = if left.is_number() && right.is_number() {
                    Value::number(arithmetic::alu(width, op, left.bits, right.bits))
                } else {
                    pointer_arithmetic(width, op, left, right)?
                };
                self.registers[dst as usize] = result;
            }
            Step::Mov { width, dst, operand } => {
                let value = self.operand(operand)?;
                self.registers[dst as usize] = match width {
                    Width::W64 => value,
                    Width::W32 => Value::number(u64::from(number(value)? as u32)),
                };
            }
            Step::Load { size, signed, dst, base, off } => {
                let pointer = self.read(base)?;
                let value = if pointer.region == Region::Context {
                    Value::number(self.load_context(i64::from(off), size)?)
                } else {
                    self.memory.load(displaced(pointer, off), size)?
                };
                self.registers[dst as usize] = if signed {
                    Value::number(arithmetic::sign_extend(Width::W64, size, number(value)?))
                } else {
                    value
                };
            }
            Step::Store { size, base, off, operand } => {
                let (pointer, value) = (self.read(base)?, self.operand(operand)?);
                if pointer.region == Region::Context {
                    self.store_context(i64::from(off), size, number(value)?)?;
                } else {
                    self.memory.store(displaced(pointer, off), size, value)?;
                }
            }
            Step::JumpIf { width, cond, dst, operand, target } => {
                let (left, right) = (self.read(dst)?, self.operand(operand)?);
                let holds = if left.is_number() && right.is_number() {
                    arithmetic::holds(width, cond, left.bits, right.bits)
                } else {
                    compare_pointers(width, cond, left, right)?
                };
                if holds {
                    self.pc = target as usize;
                    return Ok(None);
                }
            }
            Step::Jump { target } => {
                self.pc = target as usize;
                return Ok(None);
            }
            Step::Number { dst, value } => {
                self.registers[dst as usize] = Value::number(value);
                self.pc += 2;
                return Ok(None);
            }
            Step::Map { dst, map } => {
                self.registers[dst as usize] = Value::start_of(Region::Map(self.first_map + map));
                self.pc += 2;
                return Ok(None);
            }
            Step::MapValue { dst, map, offset } => {
                let region = Region::MapValue { map: self.first_map + map, slot: 0 };
                self.registers[dst as usize] = Value { bits: u64::from(offset), region };
                self.pc += 2;
                return Ok(None);
            }
            Step::Function { dst, start } => {
                self.registers[dst as usize] = Value::start_of(Region::Function(start));
                self.pc += 2;
                return Ok(None);
            }
            Step::MovSigned { width, size, dst, src } => {
                let value = number(self.read(src)?)?;
                self.registers[dst as usize] = Value::number(arithmetic::sign_extend(width, size, value));
            }
            Step::Neg { width, dst } => {
                let value = number(self.read(dst)?)?;
                self.registers[dst as usize] = Value::number(arithmetic::neg(width, value));
            }
            Step::Swap { order, size, dst } => {
                let value = number(self.read(dst)?)?;
                self.registers[dst as usize] = Value::number(arithmetic::swap(order, size, value));
            }
            Step::Atomic { op, size, base, off, src } => self.atomic(op, size, base, off, src)?,
            Step::MayGoto { target } => {
                if self.may_goto_left == 0 {
                    self.pc = target as usize;
                    return Ok(None);
                }
                self.may_goto_left -= 1;
            }
            Step::Helper { helper } => {
                helper.call(self)?;
                return Ok(None);
            }
            Step::Call { start } => {
                self.enter(start, Continuation::Return)?;
                return Ok(None);
            }
            Step::Exit => return self.leave(),
            Step::SecondHalf => return Err(Reason::NoInstruction),
        }
        self.pc += 1;
        Ok(None)
    }

    #[inline]
    pub(crate) fn read(&self, register: Reg) -> Done<Value> {
        let value = self.registers[register as usize];
        if value.region == Region::Uninit {
            return Err(Reason::UninitRegister { register: register.number() });
        }
        Ok(value)
    }

    #[inline]
    fn operand(&self, operand: Operand) -> Done<Value> {
        match operand {
            Operand::Imm(imm) => Ok(Value::number(i64::from(imm) as u64)),
            Operand::Reg(register) => self.read(register),
        }
    }

    /// `sysctl_is_valid_access()` and `sysctl_convert_ctx_access()` in kernel/bpf/cgroup.c.
    fn load_context(&self, off: i64, size: Size) -> Done<u64> {
        let len = size.bytes() as usize;
        let field = match off {
            0..4 => u32::from(self.invocation.write),
            4..8 => self.invocation.position as u32,
            _ => return Err(Reason::Context { offset: off, size: len }),
        };
        let within = off as usize % 4;
        if !within.is_multiple_of(len) || within + len > 4 {
            return Err(Reason::Context { offset: off, size: len });
        }
        Ok(arithmetic::truncate(size, u64::from(field) >> (8 * within)))
    }

    fn store_context(&mut self, off: i64, size: Size, value: u64) -> Done {
        if (off, size) != (4, Size::U32) {
            return Err(Reason::Context { offset: off, size: size.bytes() as usize });
        }
        let upper = self.invocation.position & !0xffff_ffff;
        self.invocation.position = upper | i64::from(value as u32);
        Ok(())
    }

    fn atomic(&mut self, op: AtomicOp, size: Size, base: Reg, off: i16, src: Reg) -> Done {
        let pointer = displaced(self.read(base)?, off);
        let operand = arithmetic::truncate(size, number(self.read(src)?)?);
        let r0 = match op {
            AtomicOp::CompareExchange => number(self.read(Reg::R0)?)?,
            _ => 0,
        };
        if pointer.region == Region::Context {
            return Err(Reason::Context { offset: pointer.bits as i64, size: size.bytes() as usize });
        }
        let old = number(self.memory.load(pointer, size)?)?;
        let new = arithmetic::atomic(op, size, old, operand, r0);
        self.memory.store(pointer, size, Value::number(new))?;
        match op {
            AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {}
            AtomicOp::CompareExchange => self.registers[Reg::R0 as usize] = Value::number(old),
            _ => self.registers[src as usize] = Value::number(old),
        }
        Ok(())
    }

    /// Calls the function at `start`; when it ends, the instruction after this one is next.
    fn enter(&mut self, start: u32, continuation: Continuation) -> Done {
        let frames = self.frames.len() + 2;
        if frames > self.invocation.profile.call_frames {
            return Err(Reason::TooDeep { frames });
        }
        let [_, _, _, _, _, _, saved @ .., _] = self.registers;
        self.frames.push(Frame {
            program: self.program.clone(),
            first_map: self.first_map,
            pc: self.pc + 1,
            saved,
            may_goto_left: self.may_goto_left,
            continuation,
        });
        self.memory.stack.push();
        self.registers[Reg::R0 as usize] = Value::UNINIT;
        self.registers[Reg::R6 as usize..].fill(Value::UNINIT);
        self.registers[Reg::R10 as usize] = self.memory.stack.frame_pointer();
        self.may_goto_left = MAY_GOTO_MAX;
        self.pc = start as usize;
        Ok(())
    }

    fn leave(&mut self) -> Done<Option<u64>> {
        let returned = self.read(Reg::R0)?;
        let Some(frame) = self.frames.last() else { return self.end(returned).map(Some) };
        if !matches!(frame.continuation, Continuation::Return) {
            let value = returned_number(returned)?;
            if value > 1 {
                return Err(Reason::ReturnValue { at: "callback return", value: value as i64 });
            }
        }
        let Some(frame) = self.frames.pop() else { return Err(Reason::NoInstruction) };
        self.memory.stack.pop();
        self.program = frame.program;
        self.first_map = frame.first_map;
        self.pc = frame.pc;
        self.may_goto_left = frame.may_goto_left;
        self.registers[1..6].fill(Value::UNINIT);
        self.registers[6..10].copy_from_slice(&frame.saved);
        self.registers[Reg::R10 as usize] = self.memory.stack.frame_pointer();
        self.continue_with(frame.continuation, returned)?;
        Ok(None)
    }

    fn end(&mut self, returned: Value) -> Done<u64> {
        let value = returned_number(returned)?;
        if value > 1 {
            return Err(Reason::ReturnValue { at: "program exit", value: value as i64 });
        }
        if self.memory.records.iter().any(|record| record.open) {
            return Err(Reason::Unreleased);
        }
        Ok(value)
    }

    fn continue_with(&mut self, continuation: Continuation, returned: Value) -> Done {
        let stops = returned.bits != 0;
        match continuation {
            Continuation::Return => {
                self.registers[Reg::R0 as usize] = returned;
                Ok(())
            }
            Continuation::Loop { index, count, .. } if stops || index + 1 == count => {
                self.registers[Reg::R0 as usize] = Value::number(index + 1);
                Ok(())
            }
            Continuation::Loop { callback, index, count, context } => {
                // The helper is still the instruction in progress.
                self.pc -= 1;
                self.call_back(Continuation::Loop { callback, index: index + 1, count, context })
            }
            Continuation::ForEach { called, .. } if stops => {
                self.registers[Reg::R0 as usize] = Value::number(called);
                Ok(())
            }
            Continuation::ForEach { callback, map, key, called, context } => {
                self.pc -= 1;
                self.for_each(callback, map, Some(&key), called, context)
            }
        }
    }

    /// Calls the function of a continuation with the arguments that it says.
    pub(crate) fn call_back(&mut self, continuation: Continuation) -> Done {
        let (callback, arguments) = match &continuation {
            Continuation::Loop { callback, index, context, .. } => {
                (*callback, [Value::number(*index), *context, Value::UNINIT, Value::UNINIT, Value::UNINIT])
            }
            Continuation::ForEach { callback, map, key, context, .. } => {
                let slot = self.memory.maps[usize::from(*map)]
                    .state()
                    .lookup(key, self.surroundings.processor)
                    .unwrap_or(0);
                self.memory.keys.push(key.clone());
                let key = Region::Key(self.memory.keys.len() as u32 - 1);
                let value = Region::MapValue { map: *map, slot };
                let pointers = [Region::Map(*map), key, value].map(Value::start_of);
                (*callback, [pointers[0], pointers[1], pointers[2], *context, Value::UNINIT])
            }
            Continuation::Return => return Err(Reason::NoInstruction),
        };
        self.enter(callback, continuation)?;
        self.registers[1..6].copy_from_slice(&arguments);
        Ok(())
    }

    /// Calls back with the entry behind the one of `key`, or ends `bpf_for_each_map_elem`.
    pub(crate) fn for_each(
        &mut self,
        callback: u32,
        map: u16,
        key: Option<&[u8]>,
        called: u64,
        context: Value,
    ) -> Done {
        let next = self.memory.maps[usize::from(map)].state().next_entry(key);
        match next {
            Some((key, _)) => {
                self.call_back(Continuation::ForEach { callback, map, key, called: called + 1, context })
            }
            None => {
                self.finish_helper(Value::number(called));
                Ok(())
            }
        }
    }

    /// Ends a helper: it returns `value`, the registers of its arguments are gone, the next instruction is next.
    pub(crate) fn finish_helper(&mut self, value: Value) {
        self.registers[Reg::R0 as usize] = value;
        self.registers[1..6].fill(Value::UNINIT);
        self.pc += 1;
    }

    /// `bpf_tail_call`: another program takes this one's place, if there is one and it may.
    pub(crate) fn tail_call(&mut self, map: u16, index: u32) {
        let target = self.memory.maps[usize::from(map)].state().program(index);
        let Some(target) = target.filter(|_| self.tail_calls < self.invocation.profile.tail_calls) else {
            return self.finish_helper(Value::UNINIT);
        };
        self.tail_calls += 1;
        self.first_map = self.memory.maps.len() as u16;
        self.memory.maps.extend(target.0.maps.iter().cloned());
        self.memory.stack.clear();
        self.registers = [Value::UNINIT; 11];
        self.registers[Reg::R1 as usize] = Value::start_of(Region::Context);
        self.registers[Reg::R10 as usize] = self.memory.stack.frame_pointer();
        self.may_goto_left = MAY_GOTO_MAX;
        self.program = target;
        self.pc = 0;
    }
}

/// The value, which is a number.
fn number(value: Value) -> Done<u64> {
    if value.is_number() {
        Ok(value.bits)
    } else {
        Err(Reason::DependsOnAddress { left: value.region, right: Region::Number })
    }
}

fn returned_number(value: Value) -> Done<u64> {
    if value.is_number() { Ok(value.bits) } else { Err(Reason::ReturnsPointer { region: value.region }) }
}

#[inline]
fn displaced(pointer: Value, off: i16) -> Value {
    if pointer.is_number() {
        return pointer;
    }
    Value { bits: pointer.bits.wrapping_add_signed(i64::from(off)), region: pointer.region }
}

/// `adjust_ptr_min_max_vals()` in kernel/bpf/verifier.c: numbers can be added to and subtracted from pointers, and
/// pointers subtracted from pointers into the same thing.
#[cold]
fn pointer_arithmetic(width: Width, op: AluOp, left: Value, right: Value) -> Done<Value> {
    let moved = |pointer: Value, bits| Ok(Value { bits, region: pointer.region });
    match (width, op) {
        (Width::W64, AluOp::Add) if left.region.has_offsets() && right.is_number() => {
            moved(left, left.bits.wrapping_add(right.bits))
        }
        (Width::W64, AluOp::Add) if right.region.has_offsets() && left.is_number() => {
            moved(right, right.bits.wrapping_add(left.bits))
        }
        (Width::W64, AluOp::Sub) if left.region.has_offsets() && right.is_number() => {
            moved(left, left.bits.wrapping_sub(right.bits))
        }
        (Width::W64, AluOp::Sub) if left.region == right.region && left.region.has_offsets() => {
            Ok(Value::number(left.bits.wrapping_sub(right.bits)))
        }
        _ => Err(Reason::DependsOnAddress { left: left.region, right: right.region }),
    }
}

/// Pointers are not null, and can be compared where their addresses do not matter.
#[cold]
fn compare_pointers(width: Width, cond: Cond, left: Value, right: Value) -> Done<bool> {
    let is_null = |value: Value| value.is_number() && value.bits == 0;
    let differ = is_null(left) || is_null(right) || !(left.is_number() || right.is_number());
    match (width, cond) {
        (Width::W64, _) if left.region == right.region && cond != Cond::Set => {
            Ok(arithmetic::holds(width, cond, left.bits, right.bits))
        }
        (Width::W64, Cond::Eq) if differ => Ok(false),
        (Width::W64, Cond::Ne) if differ => Ok(true),
        _ => Err(Reason::DependsOnAddress { left: left.region, right: right.region }),
    }
}

fn operation_at(insns: &[knobgate_bpf::Insn], pc: usize) -> Option<Operation> {
    if pc < insns.len() { Operation::at(insns, pc).ok() } else { None }
}
