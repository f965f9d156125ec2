//! From a name to the rules that match it.

use std::collections::BTreeSet;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Label, Size, helper_ids as helper};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{KnobPattern, Piece, Policy};

use crate::automaton::{self, NameAutomaton};
use crate::error::CompileError;
use crate::frame;
use crate::lower::Lowering;
use crate::table::Table;

/// Tells names apart as far as the rules of a policy do: names of one class are matched by the same rules.
#[derive(Debug)]
pub(crate) struct Matcher {
    table: Table,
    classes: Vec<Vec<usize>>,
}

impl Matcher {
    /// The matcher of `policy`.
    ///
    /// # Errors
    /// The patterns make too large an automaton: the first rule with which they do.
    pub(crate) fn new(policy: &Policy) -> Result<Self, CompileError> {
        Self::of_first(policy, policy.rules.len()).map_err(|_| {
            // The fewest rules that are too many: the last of them is the one to name.
            let (mut fits, mut too_many) = (0, policy.rules.len());
            while fits + 1 < too_many {
                let middle = fits.midpoint(too_many);
                match Self::of_first(policy, middle) {
                    Ok(_) => fits = middle,
                    Err(_) => too_many = middle,
                }
            }
            CompileError::PatternsTooComplex { rule: too_many - 1 }
        })
    }

    fn of_first(policy: &Policy, rules: usize) -> Result<Self, crate::table::TooLarge> {
        let (mut patterns, mut rule_of): (Vec<&[Piece]>, _) = (Vec::new(), Vec::new());
        let mut everywhere = Vec::new();
        for (index, rule) in policy.rules[..rules].iter().enumerate() {
            if rule.patterns.iter().any(KnobPattern::matches_every_name) {
                everywhere.push(index);
            } else {
                for pattern in &rule.patterns {
                    patterns.push(pattern.pieces());
                    rule_of.push(index);
                }
            }
        }
        let NameAutomaton { table, sets } = automaton::of_names(&patterns)?;
        let classes = sets
            .into_iter()
            .map(|set| {
                let matching: BTreeSet<usize> = set
                    .into_iter()
                    .map(|pattern| rule_of[pattern])
                    .chain(everywhere.iter().copied())
                    .collect();
                matching.into_iter().collect()
            })
            .collect();
        Ok(Self { table, classes })
    }

    /// For each class, the rules that match its names, in order.
    pub(crate) fn classes(&self) -> &[Vec<usize>] {
        &self.classes
    }

    /// Emits what fetches the name and leaves its class in R0, or jumps to `too_long`.
    pub(crate) fn emit(&self, lowering: &mut Lowering<'_>, too_long: Label) {
        let asm = &mut lowering.asm;
        if !lowering.features.uninit_stack {
            for offset in (0..frame::NAME_BYTES).step_by(8) {
                asm.store_imm(Size::U64, R10, frame::NAME + offset, 0);
            }
        }
        let name = |asm: &mut Assembler, register| {
            asm.mov(register, R10);
            asm.alu(AluOp::Add, register, i32::from(frame::NAME));
        };
        asm.mov(R1, R6);
        name(asm, R2);
        asm.mov(R3, i32::from(frame::NAME_BYTES));
        asm.mov(R4, 0);
        asm.call_helper(helper::SYSCTL_GET_NAME);
        // A negative errno is a large number.
        lowering.asm.jump_if(Cond::Gt, R0, NAME_MAX as i32, too_long);
        let asm = &mut lowering.asm;
        name(asm, R1);
        asm.mov(R2, R0);
        let table = lowering.tables.place(&self.table);
        asm.mov(R3, table.classes as i32);
        asm.mov(R4, table.start as i32);
        lowering.routines.call_run_table(asm);
    }
}
