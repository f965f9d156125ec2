//! The interpreter.

mod frames;
mod pointers;

use knobgate_bpf::uapi::bpf_sysctl::MEMBER_BYTES;
use knobgate_bpf::uapi::{BPF_COMPLEXITY_LIMIT_INSNS, BPF_MAX_LOOPS};
use knobgate_bpf::{AtomicOp, Operand, Operation, Reg, Size, Width};

use super::fault::{Fault, Reason};
use super::helpers::HelperEnv;
use super::kernel_memory::KernelMemory;
use super::loaded_program::{Loaded, LoadedProgram};
use super::memory::Memory;
use super::run_env::RunEnv;
use super::stack::Stack;
use super::trace::{TraceStep, Tracer};
use super::value::{Region, Value};
use crate::context::{AccessType, sysctl_is_valid_access};
use crate::source_line::source_line;
use crate::step::Step;
use crate::{Invocation, arithmetic};

use frames::{Continuation, Frame};
use pointers::{compare_pointers, pointer_arithmetic};

/// How many rounds of [`Interpreter::rounds`] a run may have before the model gives up: each loop has a limit, but loops
/// that are inside of others have none together.
const ROUNDS_MAX: u64 = 4 * BPF_MAX_LOOPS as u64;

/// One run of a program.
pub(super) struct Interpreter<'r, 'i> {
    program: LoadedProgram,
    /// The index in the run of the program's first map.
    first_map: u16,
    pc: usize,
    registers: [Value; 11],
    frames: Vec<Frame>,
    may_goto_left: u32,
    tail_calls: u32,
    /// How often a loop went on whose end the verifier need not know: callbacks of helpers, and `may_goto`.
    rounds: u64,
    env: HelperEnv<'r, 'i>,
}
type RunResult<T = ()> = Result<T, Reason>;

impl<'r, 'i> Interpreter<'r, 'i> {
    pub(super) fn new(
        program: &LoadedProgram,
        invocation: &'r mut Invocation<'i>,
        run_env: &'r mut RunEnv,
        tracer: Option<&'r mut dyn Tracer>,
    ) -> Self {
        let stack = Stack::new(invocation.profile);
        let memory = Memory {
            stack,
            maps: program.0.maps.clone(),
            records: Vec::new(),
            keys: Vec::new(),
            kernel: KernelMemory::new(program.0.kernel_structs.as_ref(), invocation.profile),
            dynptrs: Vec::new(),
            slices: Vec::new(),
        };
        let mut interpreter = Self {
            program: program.clone(),
            first_map: 0,
            pc: 0,
            registers: [Value::UNINIT; 11],
            frames: Vec::new(),
            may_goto_left: BPF_MAX_LOOPS,
            tail_calls: 0,
            rounds: 0,
            env: HelperEnv { memory, invocation, run_env, tracer },
        };
        interpreter.registers[Reg::R10 as usize] = interpreter.env.memory.stack.frame_pointer();
        interpreter.registers[Reg::R1 as usize] = Value::start_of(Region::Context);
        interpreter
    }

    /// See [`RunOptions::budget`](super::RunOptions::budget).
    pub(super) fn run(self, budget: Option<u64>) -> Result<u64, Fault> {
        if self.env.tracer.is_some() || self.program.counts() {
            self.run_steps::<true>(budget)
        } else {
            self.run_steps::<false>(budget)
        }
    }

    /// Runs the instructions. They are traced and counted only if `OBSERVED`: that would make every instruction slower.
    fn run_steps<const OBSERVED: bool>(mut self, budget: Option<u64>) -> Result<u64, Fault> {
        let total = budget.unwrap_or(BPF_COMPLEXITY_LIMIT_INSNS as u64);
        let (mut left, mut rounds_before) = (total, 0);
        loop {
            if left == 0 {
                if budget.is_some() || self.rounds == rounds_before {
                    return Err(self.fault(Reason::Budget { budget: total }));
                }
                if self.rounds > ROUNDS_MAX {
                    return Err(self.fault(Reason::Stall { rounds: self.rounds }));
                }
                (left, rounds_before) = (total, self.rounds);
            }
            left -= 1;
            if OBSERVED {
                if self.env.tracer.is_some() {
                    self.trace();
                }
                self.program.0.counters.count(self.pc);
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
        let Loaded { name, insns, lines, .. } = &*self.program.0;
        let text = match operation_at(insns, self.pc) {
            Some(operation) => operation.to_string(),
            None => "no instruction".to_owned(),
        };
        Fault { program: name.clone(), insn: self.pc, text, line: source_line(lines, self.pc), reason }
    }

    #[cold]
    fn trace(&mut self) {
        let Loaded { name, insns, .. } = &*self.program.0;
        let (Some(tracer), Some(operation)) = (&mut self.env.tracer, operation_at(insns, self.pc)) else {
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

    /// Runs one instruction. Returns the return value if the program ends. After an error `pc` is still at the instruction.
    #[inline]
    fn step(&mut self) -> RunResult<Option<u64>> {
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
                    Value::number(self.load_context(unmoved(pointer, off, size)?, size)?)
                } else {
                    self.env.memory.load(displaced(pointer, off), size)?
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
                    self.store_context(unmoved(pointer, off, size)?, size, number(value)?)?;
                } else {
                    self.env.memory.store(displaced(pointer, off), size, value)?;
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
                self.rounds += 1;
            }
            Step::Helper { helper } => {
                self.call_helper(helper)?;
                return Ok(None);
            }
            Step::Call { start } => {
                self.enter(start, Continuation::Return)?;
                return Ok(None);
            }
            Step::Exit => return self.leave(),
            Step::Rejected | Step::SecondHalf => return Err(Reason::NoInstruction),
        }
        self.pc += 1;
        Ok(None)
    }

    #[inline]
    fn read(&self, register: Reg) -> RunResult<Value> {
        let value = self.registers[register as usize];
        if value.region == Region::Uninit {
            return Err(Reason::UninitRegister { register: register.number() });
        }
        Ok(value)
    }

    #[inline]
    fn operand(&self, operand: Operand) -> RunResult<Value> {
        match operand {
            Operand::Imm(imm) => Ok(Value::number(i64::from(imm) as u64)),
            Operand::Reg(register) => self.read(register),
        }
    }

    /// `sysctl_convert_ctx_access()` in kernel/bpf/cgroup.c.
    fn load_context(&self, off: i16, size: Size) -> RunResult<u64> {
        if !sysctl_is_valid_access(off, size, AccessType::Read) {
            return Err(Reason::Context { offset: off.into(), size: size.bytes() as usize });
        }
        let field = match off < MEMBER_BYTES {
            true => u32::from(self.env.invocation.write),
            false => self.env.invocation.position as u32,
        };
        Ok(arithmetic::truncate(size, u64::from(field) >> (8 * (off % MEMBER_BYTES))))
    }

    fn store_context(&mut self, off: i16, size: Size, value: u64) -> RunResult {
        if !sysctl_is_valid_access(off, size, AccessType::Write) {
            return Err(Reason::Context { offset: off.into(), size: size.bytes() as usize });
        }
        let upper = self.env.invocation.position & !0xffff_ffff;
        self.env.invocation.position = upper | i64::from(value as u32);
        Ok(())
    }

    fn atomic(&mut self, op: AtomicOp, size: Size, base: Reg, off: i16, src: Reg) -> RunResult {
        let pointer = displaced(self.read(base)?, off);
        let operand = arithmetic::truncate(size, number(self.read(src)?)?);
        let r0 = match op {
            AtomicOp::CompareExchange => number(self.read(Reg::R0)?)?,
            _ => 0,
        };
        if pointer.region == Region::Context {
            return Err(Reason::Context { offset: pointer.bits as i64, size: size.bytes() as usize });
        }
        let old = number(self.env.memory.load(pointer, size)?)?;
        let new = arithmetic::atomic(op, size, old, operand, r0);
        self.env.memory.store(pointer, size, Value::number(new))?;
        match op {
            AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {}
            AtomicOp::CompareExchange => self.registers[Reg::R0 as usize] = Value::number(old),
            _ => self.registers[src as usize] = Value::number(old),
        }
        Ok(())
    }
}

/// The number that the value must be.
fn number(value: Value) -> RunResult<u64> {
    value.as_number().ok_or(Reason::DependsOnAddress { left: value.region, right: Region::Number })
}

/// The offset of an access through the context, which must not have been moved: `__check_ptr_off_reg()`.
fn unmoved(context: Value, off: i16, size: Size) -> RunResult<i16> {
    if context.bits == 0 {
        return Ok(off);
    }
    let offset = (context.bits as i64).saturating_add(off.into());
    Err(Reason::Context { offset, size: size.bytes() as usize })
}

#[inline]
fn displaced(pointer: Value, off: i16) -> Value {
    if pointer.is_number() {
        return pointer;
    }
    pointer.add(off as u64)
}

fn operation_at(insns: &[knobgate_bpf::Insn], pc: usize) -> Option<Operation> {
    if pc < insns.len() { Operation::at(insns, pc).ok() } else { None }
}
