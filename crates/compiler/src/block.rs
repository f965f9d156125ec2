//! Shared blocks: code that many rules need, emitted once.
//!
//! A rule leaves the number of the place where it goes on, and jumps; the block finds its way back through a tree of
//! comparisons. The number passes through memory that the verifier does not track, so that it follows the block once
//! and not once for every rule, as it would a function: what it has to do grows with the rules and not with what
//! they share. It then takes the block for a way from every rule to every other one, back to earlier ones too; that
//! this ends it sees by what has been fetched, which happens at most once, and by what follows a padded replacement,
//! which ends the program.
//!
//! Nothing here depends on the verifier telling constants apart: that of 6.1.170 takes a state for one that it has
//! seen although a register that decides on the way differs, and then removes the way as dead code.

use knobgate_bpf::Reg::{R0, R1, R2, R6, R9, R10};
use knobgate_bpf::{Cond, Label, Size};
use knobgate_policy::Value;

use crate::frame::{self, RESUME};
use crate::lower::Lowering;

/// What a block does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Block {
    /// Fetches a value.
    Fetch(Value),
    /// Pads the replacement that lies in the buffer of a value to the length in R9, and leaves in R0 whether it fits.
    Pad(Value),
}

/// A block that something jumps to.
#[derive(Debug)]
pub(crate) struct Used {
    block: Block,
    entry: Label,
    /// Where it goes on; numbered from 1, since the verifier does track zeros.
    resume: Vec<Label>,
}

impl Lowering<'_> {
    /// Goes through `block` and on behind this place. R0 to R5 are lost.
    pub(crate) fn through(&mut self, block: Block) {
        let index = match self.blocks.iter().position(|used| used.block == block) {
            Some(index) => index,
            None => {
                let entry = self.asm.new_label();
                self.blocks.push(Used { block, entry, resume: Vec::new() });
                self.blocks.len() - 1
            }
        };
        let (resume, entry) = (self.asm.new_label(), self.blocks[index].entry);
        self.blocks[index].resume.push(resume);
        let number = self.blocks[index].resume.len();
        self.asm.store_imm(Size::U32, R10, RESUME, number as i32);
        self.asm.jump(entry);
        self.asm.bind(resume);
    }

    /// Emits the blocks that something jumps to.
    pub(crate) fn emit_blocks(&mut self) {
        for Used { block, entry, resume } in std::mem::take(&mut self.blocks) {
            self.asm.bind(entry);
            match block {
                Block::Fetch(value) => {
                    self.asm.mov(R1, R6);
                    self.asm.mov(R2, R10);
                    self.routines.call_fetch(&mut self.asm, value);
                }
                Block::Pad(value) => {
                    self.address(R1, frame::buffer(value));
                    self.asm.mov(R2, R9);
                    self.routines.call_pad(&mut self.asm);
                    self.forget(R0);
                }
            }
            self.asm.load(Size::U32, R1, R10, RESUME);
            self.go_on(&resume, 1);
        }
    }

    /// Goes where the number in R1 says, which is at least `first`, the number of the first of `resume`.
    fn go_on(&mut self, resume: &[Label], first: usize) {
        if let [only] = resume {
            return self.asm.jump(*only);
        }
        let (low, high) = resume.split_at(resume.len() / 2);
        let (upper, middle) = (self.asm.new_label(), first + low.len());
        self.asm.jump_if(Cond::Ge, R1, middle as i32, upper);
        self.go_on(low, first);
        self.asm.bind(upper);
        self.go_on(high, middle);
    }
}
