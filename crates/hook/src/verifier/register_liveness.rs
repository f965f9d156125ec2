//! Which registers may still be used: `bpf_compute_live_registers()`. What is in the others does not matter when states are
//! compared.

use knobgate_bpf::{AtomicOp, Operand, Reg};

use super::control_flow::ControlFlow;
use crate::step::Step;

/// For each instruction, the registers that it or a later one may use, as a mask.
pub(super) fn compute(code: &[Step], flow: &ControlFlow) -> Vec<u16> {
    let mut live = vec![0_u16; code.len()];
    let mut pending: Vec<usize> = (0..code.len()).collect();
    while let Some(insn) = pending.pop() {
        let step = code[insn];
        let after = super::structure::successors(step, insn)
            .filter_map(|next| live.get(next))
            .fold(0, |after, live| after | live);
        let (used, set) = uses(step);
        let before = used | after & !set;
        if before != live[insn] {
            live[insn] = before;
            pending.extend(flow.predecessors(insn));
        }
    }
    live
}

/// The registers that a step reads and writes, as masks: `compute_insn_live_regs()`.
fn uses(step: Step) -> (u16, u16) {
    let bit = |register: Reg| 1_u16 << register.number();
    let of = |operand: Operand| if let Operand::Reg(register) = operand { bit(register) } else { 0 };
    let (used, set) = match step {
        Step::Alu { dst, operand, .. } => (bit(dst) | of(operand), bit(dst)),
        Step::Mov { dst, operand, .. } => (of(operand), bit(dst)),
        Step::MovSigned { dst, src, .. } => (bit(src), bit(dst)),
        Step::Neg { dst, .. } | Step::Swap { dst, .. } => (bit(dst), bit(dst)),
        Step::Load { dst, base, .. } => (bit(base), bit(dst)),
        Step::Store { base, operand, .. } => (bit(base) | of(operand), 0),
        Step::Atomic { op, base, src, .. } => {
            let used = bit(base) | bit(src);
            match op {
                AtomicOp::CompareExchange => (used | bit(Reg::R0), bit(Reg::R0)),
                AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => (used, 0),
                _ => (used, bit(src)),
            }
        }
        Step::Number { dst, .. }
        | Step::Map { dst, .. }
        | Step::MapValue { dst, .. }
        | Step::Function { dst, .. } => (0, bit(dst)),
        Step::JumpIf { dst, operand, .. } => (bit(dst) | of(operand), 0),
        Step::Helper { helper } => {
            let arguments = (1_u16 << (helper.args().len() + 1)) - 2;
            (arguments, 0x3f)
        }
        Step::Call { .. } | Step::Rejected => (0x3e, 0x3f),
        Step::Exit => (1, 0),
        Step::Jump { .. } | Step::MayGoto { .. } | Step::SecondHalf => (0, 0),
    };
    (used & 0x3ff, set & 0x3ff)
}
