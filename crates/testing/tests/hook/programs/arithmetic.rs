//! Numbers: computing, comparing, loading and storing them, in loops and functions.

use knobgate_bpf::{AluOp, AtomicOp, ByteOrder, Cond, Insn, Label, Operand, Reg, Size, Width, helper_ids};
use knobgate_hook::Profile;

use super::{Body, RESULTS, Sketch};

/// The registers that hold numbers in these pieces. r6 is the context, and r9 goes to the results.
const NUMBERS: [Reg; 8] = [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R7, Reg::R8];

/// What the kernel computes: division with a sign came with ISA v4.
pub(super) fn operations(profile: &Profile) -> Vec<AluOp> {
    let is_known = |op: &AluOp| profile.isa_v4 || !matches!(op, AluOp::SDiv | AluOp::SMod);
    AluOp::ALL.into_iter().filter(is_known).collect()
}

impl Sketch<'_> {
    pub(super) fn arithmetic(&mut self) {
        for register in NUMBERS {
            self.load_input(register);
        }
        let turns = 1 + self.random.below(4) as i32;
        let loops = self.random.one_in(3);
        let again = self.asm.new_label();
        if loops {
            self.asm.mov(Reg::R8, turns);
            self.asm.bind(again);
        }
        let registers = if loops { &NUMBERS[..7] } else { &NUMBERS[..] };
        for _ in 0..1 + self.random.below(10) {
            if self.random.one_in(4) {
                self.branch(registers);
            } else {
                self.operation(registers);
            }
        }
        if loops {
            self.asm.alu(AluOp::Sub, Reg::R8, 1);
            self.asm.jump_if(Cond::Ne, Reg::R8, 0, again);
        }
        for register in NUMBERS {
            self.keep(register);
        }
    }

    fn branch(&mut self, registers: &[Reg]) {
        let over = self.asm.new_label();
        let (cond, left) = (self.random.pick(&Cond::ALL), self.random.pick(registers));
        let right = self.operand(registers);
        if self.random.one_in(2) {
            self.asm.jump_if(cond, left, right, over);
        } else {
            self.asm.jump32_if(cond, left, right, over);
        }
        for _ in 0..1 + self.random.below(3) {
            self.operation(registers);
        }
        self.asm.bind(over);
    }

    fn operand(&mut self, registers: &[Reg]) -> Operand {
        if self.random.one_in(2) {
            Operand::Reg(self.random.pick(registers))
        } else {
            Operand::Imm(self.random.number() as i32)
        }
    }

    fn operation(&mut self, registers: &[Reg]) {
        let width = self.random.pick(&[Width::W64, Width::W32]);
        let (dst, src) = (self.random.pick(registers), self.random.pick(registers));
        match self.random.below(10) {
            0 => self.asm.emit(Insn::neg(width, dst)),
            1 if self.profile.isa_v4 => {
                let sizes: &[Size] = match width {
                    Width::W64 => &[Size::U8, Size::U16, Size::U32],
                    Width::W32 => &[Size::U8, Size::U16],
                };
                let size = self.random.pick(sizes);
                self.asm.emit(Insn::mov_signed(width, size, dst, src));
            }
            2 => {
                let orders = [ByteOrder::ToLittle, ByteOrder::ToBig, ByteOrder::Swap];
                let order = self.random.pick(&orders[..if self.profile.isa_v4 { 3 } else { 2 }]);
                let size = self.random.pick(&[Size::U16, Size::U32, Size::U64]);
                self.asm.emit(Insn::swap(order, size, dst));
            }
            3 => {
                let operand = self.operand(registers);
                self.asm.emit(Insn::mov(width, dst, operand));
            }
            _ => {
                let op = self.random.pick(&operations(self.profile));
                let operand = match (op, self.operand(registers)) {
                    (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Imm(_)) => {
                        let bits = if width == Width::W64 { 64 } else { 32 };
                        Operand::Imm(self.random.below(bits) as i32)
                    }
                    (AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod, Operand::Imm(0)) => Operand::Imm(3),
                    (_, operand) => operand,
                };
                self.asm.emit(Insn::alu(width, op, dst, operand));
            }
        }
    }

    /// Stores, loads and atomic operations, on the stack and on a map value.
    pub(super) fn memory(&mut self) {
        let stack = self.random.one_in(2);
        for register in [Reg::R0, Reg::R2, Reg::R3] {
            self.load_input(register);
        }
        if stack {
            self.stack_address(Reg::R7, -32);
        } else {
            self.asm.load_map_value(Reg::R7, RESULTS, super::BUFFERS - 32);
        }
        for offset in [0, 8, 16, 24] {
            let value = self.random.pick(&[Reg::R0, Reg::R2, Reg::R3]);
            self.asm.store(Size::U64, Reg::R7, offset, value);
        }
        for _ in 0..1 + self.random.below(6) {
            let size = self.random.pick(&Size::ALL);
            let bytes = size.bytes() as i16;
            // The stack wants what is aligned, and atomic operations everywhere.
            let aligned = self.random.below(32 / bytes as u64) as i16 * bytes;
            let unaligned = self.random.below(33 - bytes as u64) as i16;
            let offset = if stack { aligned } else { unaligned };
            let register = self.random.pick(&[Reg::R0, Reg::R2, Reg::R3]);
            match self.random.below(6) {
                0 => self.asm.store(size, Reg::R7, offset, register),
                1 => self.asm.store_imm(size, Reg::R7, offset, self.random.number() as i32),
                2 => self.asm.load(size, register, Reg::R7, offset),
                3 if size != Size::U64 && self.profile.isa_v4 => {
                    self.asm.emit(Insn::load_signed(size, register, Reg::R7, offset));
                }
                _ => {
                    let size = self.random.pick(&[Size::U32, Size::U64]);
                    let bytes = size.bytes() as i16;
                    let offset = self.random.below(32 / bytes as u64) as i16 * bytes;
                    let ops = if self.profile.atomics { &AtomicOp::ALL[..] } else { &[AtomicOp::Add] };
                    let op = self.random.pick(ops);
                    self.asm.emit(Insn::atomic(op, size, Reg::R7, offset, register));
                }
            }
        }
        for register in [Reg::R0, Reg::R2, Reg::R3] {
            self.keep(register);
        }
        for offset in [0, 8, 16, 24] {
            self.asm.load(Size::U64, Reg::R0, Reg::R7, offset);
            self.keep(Reg::R0);
        }
    }

    /// Calls a function of its own, or has it called.
    pub(super) fn call(&mut self) {
        let function = self.asm.new_label();
        if !self.has(helper_ids::LOOP) || self.random.one_in(2) {
            self.load_input(Reg::R1);
            self.load_input(Reg::R2);
            self.load_input(Reg::R7);
            self.asm.call(function);
            self.functions.push((function, Body::Number));
            self.keep(Reg::R7);
        } else {
            // 6.18.44 has a bug where the number of turns is known to be 0: it throws the function away and looks for it
            // later ("verifier bug: No program to jit").
            let turns = self.random.pick(&[1, 3, 9, 0x80_0001, -1]);
            let stop_at = self.random.below(12) as u32;
            let flags = i32::from(self.random.one_in(8));
            self.asm.store_imm(Size::U64, Reg::R10, -8, 5);
            if turns == -1 {
                self.load_input(Reg::R1);
                self.asm.alu(AluOp::And, Reg::R1, 7);
            } else {
                self.asm.mov(Reg::R1, turns);
            }
            self.asm.load_function(Reg::R2, function);
            self.stack_address(Reg::R3, -8);
            self.asm.mov(Reg::R4, flags);
            self.asm.call_helper(helper_ids::LOOP);
            self.functions.push((function, Body::Loop { stop_at }));
            self.asm.load(Size::U64, Reg::R7, Reg::R10, -8);
            self.keep(Reg::R7);
        }
        self.keep(Reg::R0);
    }

    pub(super) fn function(&mut self, label: Label, body: Body) {
        let name = format!("function_{}", self.asm.position());
        self.asm.begin_function(&name);
        self.asm.bind(label);
        match body {
            Body::Number => {
                self.asm.mov(Reg::R0, Reg::R1);
                for _ in 0..2 + self.random.below(5) {
                    self.operation(&[Reg::R0, Reg::R1, Reg::R2]);
                }
            }
            Body::Loop { stop_at } => {
                // r1 is the turn, r2 the context.
                self.asm.load(Size::U64, Reg::R3, Reg::R2, 0);
                self.asm.alu(AluOp::Mul, Reg::R3, 3);
                self.asm.alu(AluOp::Add, Reg::R3, Reg::R1);
                self.asm.store(Size::U64, Reg::R2, 0, Reg::R3);
                let end = self.asm.new_label();
                self.asm.mov(Reg::R0, 1);
                self.asm.jump_if(Cond::Eq, Reg::R1, stop_at as i32, end);
                self.asm.mov(Reg::R0, 0);
                self.asm.bind(end);
            }
            Body::ForEach => {
                // r2 is the key, r3 the value, r4 the context.
                self.asm.load(Size::U64, Reg::R5, Reg::R4, 0);
                self.asm.load(Size::U64, Reg::R0, Reg::R3, 0);
                self.asm.alu(AluOp::Add, Reg::R5, Reg::R0);
                self.asm.load(Size::U32, Reg::R0, Reg::R2, 0);
                self.asm.alu(AluOp::Add, Reg::R5, Reg::R0);
                self.asm.store(Size::U64, Reg::R4, 0, Reg::R5);
                self.asm.mov(Reg::R0, 0);
            }
        }
        self.asm.exit();
    }
}
