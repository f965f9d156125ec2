//! Which instructions the verifier takes, beyond what policies are made of: for the description of this kernel.

use knobgate_bpf::{AluOp, AtomicOp, Cond, Insn, Reg, Size, Width, helper_ids};

use super::programs::{FILE_POS, returning_one};
use super::{Outcome, loads};

/// What programs can have.
pub(crate) struct Instructions {
    pub(crate) set_retval_checked: Outcome,
    pub(crate) uninit_above_stored: Outcome,
    pub(crate) divisions_followed: Outcome,
    pub(crate) self_comparisons_decided: Outcome,
    pub(crate) isa_v4: Outcome,
    pub(crate) st_ctx: Outcome,
    pub(crate) atomics: Outcome,
    pub(crate) may_goto: Outcome,
    pub(crate) acquire_release: Outcome,
    pub(crate) bounded_loops: Outcome,
    /// `None` if not even a few can be.
    pub(crate) call_frames: Option<usize>,
}

pub(crate) fn probe() -> Instructions {
    let zeroed = Insn::store(Size::U64, Reg::R10, -8, 0);
    let one = Insn::mov(Width::W64, Reg::R1, 1);
    Instructions {
        set_retval_checked: set_retval_checked(),
        uninit_above_stored: loads(&returning_one([
            Insn::store(Size::U64, Reg::R10, -16, 0),
            Insn::load(Size::U64, Reg::R2, Reg::R10, -8),
        ])),
        // What these return must be 0 or 1.
        divisions_followed: loads(&[
            Insn::load(Size::U32, Reg::R0, Reg::R1, FILE_POS),
            Insn::alu(Width::W64, AluOp::Mod, Reg::R0, 2),
            Insn::exit(),
        ]),
        self_comparisons_decided: loads(&[
            Insn::load(Size::U32, Reg::R1, Reg::R1, FILE_POS),
            Insn::mov(Width::W64, Reg::R0, 1),
            Insn::jump_if(Width::W64, Cond::Le, Reg::R1, Reg::R1, 1),
            Insn::mov(Width::W64, Reg::R0, 7),
            Insn::exit(),
        ]),
        isa_v4: loads(&returning_one([one, Insn::mov_signed(Width::W64, Size::U8, Reg::R2, Reg::R1)])),
        st_ctx: loads(&returning_one([Insn::store(Size::U32, Reg::R1, FILE_POS, 0)])),
        atomics: loads(&returning_one([
            zeroed,
            one,
            Insn::atomic(AtomicOp::FetchAdd, Size::U64, Reg::R10, -8, Reg::R1),
        ])),
        may_goto: loads(&returning_one([Insn::may_goto(1), one])),
        acquire_release: loads(&returning_one([
            zeroed,
            Insn::load_acquire(Size::U64, Reg::R1, Reg::R10, -8),
        ])),
        bounded_loops: loads(&returning_one([
            Insn::mov(Width::W64, Reg::R1, 2),
            Insn::alu(Width::W64, AluOp::Sub, Reg::R1, 1),
            Insn::jump_if(Width::W64, Cond::Ne, Reg::R1, 0, -2),
        ])),
        call_frames: CALL_FRAMES.into_iter().find(|&frames| loads(&nested(frames)).is_yes()),
    }
}

/// Tries a return value that is an errno, and one that is none.
fn set_retval_checked() -> Outcome {
    let set = |retval: i32| {
        loads(&returning_one([
            Insn::mov(Width::W64, Reg::R1, retval),
            Insn::call_helper(helper_ids::SET_RETVAL),
        ]))
    };
    match (set(-1), set(1)) {
        (Outcome::Yes, Outcome::Yes) => Outcome::No,
        (Outcome::Yes, Outcome::No) => Outcome::Yes,
        // Without the helper nothing is checked.
        (Outcome::No, _) => Outcome::No,
        (unknown @ Outcome::Unknown(_), _) | (_, unknown) => unknown,
    }
}

/// How many functions may be in progress at once on the kernels that are known, `MAX_CALL_FRAMES` in
/// include/linux/bpf_verifier.h: since 7.2, and before.
const CALL_FRAMES: [usize; 2] = [16, 8];

/// So many functions, of which each calls the next one.
fn nested(functions: usize) -> Vec<Insn> {
    let call = [Insn::call_function(1), Insn::exit()];
    let mut insns = call.repeat(functions - 1);
    insns.extend([Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()]);
    insns
}
