//! The call stack: calls, callbacks, tail calls, the end.

use knobgate_bpf::uapi::BPF_MAX_LOOPS;
use knobgate_bpf::{Helper, Reg};

use super::{Interpreter, RunResult};
use crate::machine::fault::Reason;
use crate::machine::helpers::{self, Arguments, Control, Implementation};
use crate::machine::loaded_program::LoadedProgram;
use crate::machine::value::{Region, Value};

/// The state of a caller.
pub(super) struct Frame {
    program: LoadedProgram,
    first_map: u16,
    pc: usize,
    saved: [Value; 4],
    may_goto_left: u32,
    continuation: Continuation,
}

/// What happens when a function ends.
#[derive(Debug, Clone)]
pub(super) enum Continuation {
    /// Its caller continues with the return value.
    Return,
    /// `bpf_loop` calls it again, until it has been called `count` times.
    Loop { callback: u32, index: u64, count: u64, context: Value },
    /// `bpf_for_each_map_elem` calls it with the next entry.
    ForEach { callback: u32, map: u16, key: Vec<u8>, called: u64, context: Value },
}

impl Interpreter<'_, '_> {
    /// Calls the function at `start`, which returns to the next instruction.
    pub(super) fn enter(&mut self, start: u32, continuation: Continuation) -> RunResult {
        let frames = self.frames.len() + 2;
        if frames > self.env.invocation.profile.call_frames {
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
        self.env.memory.stack.push();
        self.registers[Reg::R0 as usize] = Value::UNINIT;
        self.registers[Reg::R6 as usize..].fill(Value::UNINIT);
        self.registers[Reg::R10 as usize] = self.env.memory.stack.frame_pointer();
        self.may_goto_left = BPF_MAX_LOOPS;
        self.pc = start as usize;
        Ok(())
    }

    pub(super) fn leave(&mut self) -> RunResult<Option<u64>> {
        let Some(frame) = self.frames.last() else { return self.end(self.read(Reg::R0)?).map(Some) };
        // A function that is called may return nothing.
        let mut returned = self.registers[Reg::R0 as usize];
        if !matches!(frame.continuation, Continuation::Return) {
            returned = self.read(Reg::R0)?;
            let value = returned_number(returned)?;
            if value > 1 {
                return Err(Reason::ReturnValue { at: "callback return", value: value as i64 });
            }
        }
        let Some(frame) = self.frames.pop() else { return Err(Reason::NoInstruction) };
        self.env.memory.stack.pop();
        self.program = frame.program;
        self.first_map = frame.first_map;
        self.pc = frame.pc;
        self.may_goto_left = frame.may_goto_left;
        self.registers[1..6].fill(Value::UNINIT);
        self.registers[6..10].copy_from_slice(&frame.saved);
        self.registers[Reg::R10 as usize] = self.env.memory.stack.frame_pointer();
        self.continue_with(frame.continuation, returned)?;
        Ok(None)
    }

    fn end(&mut self, returned: Value) -> RunResult<u64> {
        let value = returned_number(returned)?;
        if value > 1 {
            return Err(Reason::ReturnValue { at: "program exit", value: value as i64 });
        }
        if self.env.memory.has_references() {
            return Err(Reason::Unreleased);
        }
        Ok(value)
    }

    fn continue_with(&mut self, continuation: Continuation, returned: Value) -> RunResult {
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
                // The current instruction is still the call of the helper.
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

    /// Calls `helper` with the arguments in r1 to r5.
    pub(super) fn call_helper(&mut self, helper: &'static Helper) -> RunResult {
        let Some(implementation) = helpers::implementation(helper.id) else {
            return Err(Reason::NoInstruction);
        };
        // A `Result` that is put into another one is copied so soon after it is written that the processor has to wait.
        match implementation {
            Implementation::Number(function) => {
                let number = function(&mut self.env);
                self.finish_helper(Value::number(number));
            }
            Implementation::Function(function) => {
                let arguments = Arguments::check(&self.env, helper, &self.registers)?;
                let value = function(&mut self.env, &arguments)?;
                self.finish_helper(value);
            }
            Implementation::Control(function) => {
                let arguments = Arguments::check(&self.env, helper, &self.registers)?;
                match function(&self.env, &arguments) {
                    Control::Return(value) => self.finish_helper(value),
                    Control::TailCall { map, index } => self.tail_call(map, index),
                    Control::Loop { callback, count, context } => {
                        self.call_back(Continuation::Loop { callback, index: 0, count, context })?;
                    }
                    Control::ForEachMapElem { callback, map, context } => {
                        self.for_each(callback, map, None, 0, context)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls the callback of a continuation with its arguments.
    fn call_back(&mut self, continuation: Continuation) -> RunResult {
        self.rounds += 1;
        let (callback, arguments) = match &continuation {
            Continuation::Loop { callback, index, context, .. } => {
                (*callback, [Value::number(*index), *context, Value::UNINIT, Value::UNINIT, Value::UNINIT])
            }
            Continuation::ForEach { callback, map, key, context, .. } => {
                let slot = self.env.memory.maps[usize::from(*map)]
                    .state()
                    .lookup(key, self.env.run_env.processor)
                    .unwrap_or(0);
                self.env.memory.keys.push(key.clone());
                let key = Region::Key(self.env.memory.keys.len() as u32 - 1);
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

    /// Calls back with the entry after `key`, or ends `bpf_for_each_map_elem`.
    fn for_each(
        &mut self,
        callback: u32,
        map: u16,
        key: Option<&[u8]>,
        called: u64,
        context: Value,
    ) -> RunResult {
        let next = self.env.memory.map(map).next_entry(key);
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

    /// Returns `value` from a helper: clobbers the argument registers, and goes to the next instruction.
    fn finish_helper(&mut self, value: Value) {
        self.registers[Reg::R0 as usize] = value;
        self.registers[1..6].fill(Value::UNINIT);
        self.pc += 1;
    }

    /// `bpf_tail_call`: continues with another program, if there is one and the limit allows it.
    fn tail_call(&mut self, map: u16, index: u32) {
        let target = LoadedProgram::in_array(&self.env.memory.map(map), index);
        let Some(target) = target.filter(|_| self.tail_calls < self.env.invocation.profile.tail_calls) else {
            return self.finish_helper(Value::UNINIT);
        };
        self.tail_calls += 1;
        self.first_map = self.env.memory.maps.len() as u16;
        self.env.memory.maps.extend(target.0.maps.iter().cloned());
        self.env.memory.stack.tail_call();
        self.env.memory.kernel.hand_on(target.0.kernel_structs.as_ref());
        self.registers = [Value::UNINIT; 11];
        self.registers[Reg::R1 as usize] = Value::start_of(Region::Context);
        self.registers[Reg::R10 as usize] = self.env.memory.stack.frame_pointer();
        self.may_goto_left = BPF_MAX_LOOPS;
        self.program = target;
        self.pc = 0;
    }
}

fn returned_number(value: Value) -> RunResult<u64> {
    if value.is_number() { Ok(value.bits) } else { Err(Reason::ReturnsPointer { region: value.region }) }
}
