//! An assembler with labels.
//!
//! Jumps and calls name [`Label`]s; [`Assembler::finish`] computes the offsets. Jumps that are too far for 16 bits are
//! handled by [`layout`](crate::layout).

use crate::layout::{self, Branch, BranchKind, Segment};
use crate::{
    AluOp, AtomicOp, Code, Cond, Function, Imm64, Insn, LineEntry, MapReference, Operand, Operation, Reg,
    Relocation, Size, Width,
};

/// A position in the code, which jumps and calls can name before it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(u32);

/// Collects instructions; see the [crate's example](crate).
///
/// Methods that emit an instruction are named after what it does. Mistakes, such as a label that is bound twice, are
/// reported by [`finish`](Self::finish), so that the emitting code needs no error handling.
#[derive(Debug, Clone, Default)]
pub struct Assembler {
    insns: Vec<Insn>,
    labels: Vec<Option<usize>>,
    branches: Vec<(usize, BranchKind, Label)>,
    relocations: Vec<Relocation>,
    functions: Vec<Function>,
    lines: Vec<LineEntry>,
    pending_line: Option<LineEntry>,
    mistake: Option<AsmError>,
}

/// Mistakes in the use of an assembler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AsmError {
    /// A jump, a call or the address of a function names a label that was never bound.
    #[error("instruction {insn} goes to a label that is not bound")]
    UnboundLabel {
        /// The instruction, as counted by [`Assembler::position`].
        insn: usize,
    },
    /// A label was bound again.
    #[error("a label that is bound to instruction {first} is bound again to instruction {second}")]
    BoundTwice {
        /// Where it was bound.
        first: usize,
        /// Where it was bound again.
        second: usize,
    },
    /// A jump was emitted as an instruction with an explicit offset.
    #[error("instruction {insn} is a jump or call with an explicit offset; it has to go to a label")]
    CountedOffset {
        /// The instruction, as counted by [`Assembler::position`].
        insn: usize,
    },
    /// A jump leaves its function.
    #[error("the jump at instruction {insn} goes to instruction {target}, outside of its function")]
    JumpLeavesFunction {
        /// The jump, as counted by [`Assembler::position`].
        insn: usize,
        /// Where it goes to.
        target: usize,
    },
    /// A call goes to an instruction where no function starts.
    #[error("instruction {insn} calls instruction {target}, where no function starts")]
    NotAFunction {
        /// The call, as counted by [`Assembler::position`].
        insn: usize,
        /// Where it goes to.
        target: usize,
    },
    /// Too many long jumps cross one instruction for 16-bit offsets.
    #[error(
        "function {function:?} has too many long jumps for 16-bit offsets; split it, or allow long jumps"
    )]
    TooManyFarJumps {
        /// The name of the function.
        function: String,
    },
}

impl Assembler {
    /// The name of the function that instructions emitted before any [`begin_function`](Self::begin_function)
    /// belong to.
    pub const MAIN: &str = "main";

    /// An empty assembler.
    pub fn new() -> Self {
        Self::default()
    }

    /// A label that is not bound yet.
    pub fn new_label(&mut self) -> Label {
        let label = Label(u32::try_from(self.labels.len()).expect("fewer labels than 2^32"));
        self.labels.push(None);
        label
    }

    /// Binds `label` to the next instruction.
    pub fn bind(&mut self, label: Label) {
        let second = self.position();
        match &mut self.labels[label.0 as usize] {
            Some(first) => {
                self.mistake.get_or_insert(AsmError::BoundTwice { first: *first, second });
            }
            place => *place = Some(second),
        }
    }

    /// The number of instructions. Jumps may grow later, so this is not an index into the finished code.
    pub fn position(&self) -> usize {
        self.insns.len()
    }

    /// Starts a function with the next instruction. To call it, bind a label to the same instruction.
    pub fn begin_function(&mut self, name: &str) {
        self.functions.push(Function { name: name.to_owned(), start: self.position() });
    }

    /// Attributes the instructions that follow to a line of the source; both numbers count from 1.
    pub fn set_line(&mut self, line: u32, column: u32, text: &str) {
        self.pending_line = Some(LineEntry { insn: 0, line, column, text: text.to_owned() });
    }

    /// Emits an instruction. Jumps and calls within the program have methods of their own, which take labels.
    pub fn emit(&mut self, insn: Insn) {
        let counts_offset = match Operation::at(&[insn, Insn::default()], 0) {
            Ok(Operation::Call { callee }) => matches!(callee, crate::Callee::Function(_)),
            Ok(Operation::LoadImm64 { imm, .. }) => matches!(imm, Imm64::Function { .. }),
            Ok(Operation::Jump { .. } | Operation::JumpIf { .. } | Operation::MayGoto { .. }) => true,
            _ => false,
        };
        if counts_offset {
            self.mistake.get_or_insert(AsmError::CountedOffset { insn: self.insns.len() });
        }
        self.push(insn);
    }

    /// `dst = operand`
    pub fn mov(&mut self, dst: Reg, operand: impl Into<Operand>) {
        self.push(Insn::mov(Width::W64, dst, operand));
    }

    /// `dst = operand`, 32 bits, zero-extended
    pub fn mov32(&mut self, dst: Reg, operand: impl Into<Operand>) {
        self.push(Insn::mov(Width::W32, dst, operand));
    }

    /// `dst = dst op operand`
    pub fn alu(&mut self, op: AluOp, dst: Reg, operand: impl Into<Operand>) {
        self.push(Insn::alu(Width::W64, op, dst, operand));
    }

    /// `dst = dst op operand`, 32 bits, zero-extended
    pub fn alu32(&mut self, op: AluOp, dst: Reg, operand: impl Into<Operand>) {
        self.push(Insn::alu(Width::W32, op, dst, operand));
    }

    /// `dst = -dst`
    pub fn neg(&mut self, dst: Reg) {
        self.push(Insn::neg(Width::W64, dst));
    }

    /// `dst = *(size *)(base + off)`, zero-extended
    pub fn load(&mut self, size: Size, dst: Reg, base: Reg, off: i16) {
        self.push(Insn::load(size, dst, base, off));
    }

    /// `*(size *)(base + off) = src`
    pub fn store(&mut self, size: Size, base: Reg, off: i16, src: Reg) {
        self.push(Insn::store(size, base, off, src));
    }

    /// `*(size *)(base + off) = imm`
    pub fn store_imm(&mut self, size: Size, base: Reg, off: i16, imm: i32) {
        self.push(Insn::store(size, base, off, imm));
    }

    /// `*(size *)(base + off) += src`, atomically; four or eight bytes
    pub fn atomic_add(&mut self, size: Size, base: Reg, off: i16, src: Reg) {
        self.push(Insn::atomic(AtomicOp::Add, size, base, off, src));
    }

    /// `dst = value`, in one instruction where the value is the sign extension of 32 bits.
    pub fn load_imm64(&mut self, dst: Reg, value: u64) {
        match i32::try_from(value as i64) {
            Ok(small) => self.mov(dst, small),
            Err(_) => self.push_load(dst, Imm64::Value(value)),
        }
    }

    /// `dst = map`, for helpers.
    pub fn load_map(&mut self, dst: Reg, map: usize) {
        self.relocations.push(Relocation { insn: self.position(), map, target: MapReference::Map });
        self.push_load(dst, Imm64::Map { fd: 0 });
    }

    /// `dst = &map[0].value[offset]`, of an array of one entry.
    pub fn load_map_value(&mut self, dst: Reg, map: usize, offset: u32) {
        self.relocations.push(Relocation { insn: self.position(), map, target: MapReference::Value(offset) });
        self.push_load(dst, Imm64::MapValue { fd: 0, offset });
    }

    /// `dst = function`, for helpers that call back.
    pub fn load_function(&mut self, dst: Reg, function: Label) {
        self.branches.push((self.position(), BranchKind::Reference, function));
        self.push_load(dst, Imm64::Function { off: 0 });
    }

    /// `goto target`
    pub fn jump(&mut self, target: Label) {
        self.push_branch(Insn::jump(0), BranchKind::Jump, target);
    }

    /// `if dst cond operand goto target`
    pub fn jump_if(&mut self, cond: Cond, dst: Reg, operand: impl Into<Operand>, target: Label) {
        self.push_condition(Width::W64, cond, dst, operand.into(), target);
    }

    /// `if dst cond operand goto target`, comparing the low 32 bits
    pub fn jump32_if(&mut self, cond: Cond, dst: Reg, operand: impl Into<Operand>, target: Label) {
        self.push_condition(Width::W32, cond, dst, operand.into(), target);
    }

    /// `may_goto target`
    pub fn may_goto(&mut self, target: Label) {
        self.push_branch(Insn::may_goto(0), BranchKind::Condition { inverse: None }, target);
    }

    /// `r0 = function(r1, …, r5)`, of the program itself
    pub fn call(&mut self, function: Label) {
        self.push_branch(Insn::call_function(0), BranchKind::Reference, function);
    }

    /// `r0 = helper(r1, …, r5)`; see [`helper_ids`](crate::helper_ids)
    pub fn call_helper(&mut self, id: u32) {
        self.push(Insn::call_helper(id));
    }

    /// `return r0`
    pub fn exit(&mut self) {
        self.push(Insn::exit());
    }

    /// Places the code and resolves the labels.
    ///
    /// A jump uses 16 bits if they suffice. A longer one becomes a `gotol` if `long_jump` allows it
    /// ([`Features::long_jump`](crate::Features::long_jump)), and otherwise hops through islands.
    ///
    /// # Errors
    ///
    /// See [`AsmError`]; all but [`TooManyFarJumps`](AsmError::TooManyFarJumps) are mistakes of the caller.
    pub fn finish(mut self, long_jump: bool) -> Result<Code, AsmError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        if self.functions.first().is_none_or(|first| first.start > 0) {
            self.functions.insert(0, Function { name: Self::MAIN.to_owned(), start: 0 });
        }
        let segments = self.segments();
        let branches = self.resolve()?;
        let layout = layout::place(&self.insns, &segments, &branches, long_jump).map_err(|segment| {
            AsmError::TooManyFarJumps { function: self.functions[segment].name.clone() }
        })?;
        for relocation in &mut self.relocations {
            relocation.insn = layout.address(relocation.insn);
        }
        for function in &mut self.functions {
            function.start = layout.address(function.start);
        }
        for line in &mut self.lines {
            line.insn = layout.address(line.insn);
        }
        Ok(Code {
            insns: layout.into_insns(),
            relocations: self.relocations,
            functions: self.functions,
            lines: self.lines,
        })
    }

    /// The functions as ranges of instructions.
    fn segments(&self) -> Vec<Segment> {
        let ends = self.functions.iter().skip(1).map(|next| next.start).chain([self.insns.len()]);
        self.functions.iter().zip(ends).map(|(function, end)| function.start..end).collect()
    }

    /// The branches with their targets, which are checked.
    fn resolve(&self) -> Result<Vec<Branch>, AsmError> {
        let function_of = |insn: usize| self.functions.partition_point(|function| function.start <= insn);
        let mut branches = Vec::with_capacity(self.branches.len());
        for &(insn, kind, label) in &self.branches {
            let target = self.labels[label.0 as usize].ok_or(AsmError::UnboundLabel { insn })?;
            let is_inside = target < self.insns.len();
            match kind {
                BranchKind::Reference => {
                    let starts =
                        self.functions.binary_search_by_key(&target, |function| function.start).is_ok();
                    if !starts || !is_inside {
                        return Err(AsmError::NotAFunction { insn, target });
                    }
                }
                BranchKind::Jump | BranchKind::Condition { .. } => {
                    if !is_inside || function_of(insn) != function_of(target) {
                        return Err(AsmError::JumpLeavesFunction { insn, target });
                    }
                }
            }
            branches.push(Branch { insn, kind, target });
        }
        Ok(branches)
    }

    fn push(&mut self, insn: Insn) {
        if let Some(line) = self.pending_line.take() {
            let entry = LineEntry { insn: self.insns.len(), ..line };
            let is_same = self.lines.last().is_some_and(|last| {
                (last.line, last.column, &last.text) == (entry.line, entry.column, &entry.text)
            });
            if !is_same {
                self.lines.push(entry);
            }
        }
        self.insns.push(insn);
    }

    fn push_load(&mut self, dst: Reg, imm: Imm64) {
        for insn in Insn::load_imm64(dst, imm) {
            self.push(insn);
        }
    }

    fn push_branch(&mut self, insn: Insn, kind: BranchKind, target: Label) {
        self.branches.push((self.position(), kind, target));
        self.push(insn);
    }

    fn push_condition(&mut self, width: Width, cond: Cond, dst: Reg, operand: Operand, target: Label) {
        let insn = Insn::jump_if(width, cond, dst, operand, 0);
        let inverse = cond.inverse().map(|cond| Insn::jump_if(width, cond, dst, operand, 0).opcode);
        self.push_branch(insn, BranchKind::Condition { inverse }, target);
    }
}
