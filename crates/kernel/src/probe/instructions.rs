//! Which instructions the verifier accepts, beyond those of compiled policies.

use knobgate_bpf::uapi::bpf_sysctl::FILE_POS;
use knobgate_bpf::{AluOp, AtomicOp, Cond, Insn, Reg, Size, Width, helper_ids};

use super::programs::returning_one;
use super::{ProbeOutcome, loads};

/// Which instructions the verifier accepts, beyond those that compiled policies use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstructionProbes {
    /// `bpf_set_retval` takes 0 or an errno only, and the verifier checks that.
    pub set_retval_checked: ProbeOutcome,
    /// Stack above the lowest stored byte may be read, even if nothing was stored there.
    pub uninit_above_stored: ProbeOutcome,
    /// The verifier tracks the range of a division's result.
    pub divisions_followed: ProbeOutcome,
    /// The verifier decides comparisons of a register with itself.
    pub self_comparisons_decided: ProbeOutcome,
    /// ISA v4.
    pub isa_v4: ProbeOutcome,
    /// The context may be written with an immediate (`BPF_ST`).
    pub st_ctx: ProbeOutcome,
    /// Atomic operations other than plain addition.
    pub atomics: ProbeOutcome,
    /// `may_goto`
    pub may_goto: ProbeOutcome,
    /// Loads with acquire and stores with release semantics.
    pub acquire_release: ProbeOutcome,
    /// Loops that the verifier can bound.
    pub bounded_loops: ProbeOutcome,
    /// How many functions may be active at once; `None` if fewer than on any known kernel.
    pub call_frames: Option<usize>,
}

/// Loads a program for each field.
pub fn probe_instructions() -> InstructionProbes {
    let zeroed = Insn::store(Size::U64, Reg::R10, -8, 0);
    let one = Insn::mov(Width::W64, Reg::R1, 1);
    InstructionProbes {
        set_retval_checked: set_retval_checked(),
        uninit_above_stored: loads(&returning_one([
            Insn::store(Size::U64, Reg::R10, -16, 0),
            Insn::load(Size::U64, Reg::R2, Reg::R10, -8),
        ])),
        // The verifier must see that these return 0 or 1.
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

/// Tries a valid and an invalid return value.
fn set_retval_checked() -> ProbeOutcome {
    let set = |retval: i32| {
        loads(&returning_one([
            Insn::mov(Width::W64, Reg::R1, retval),
            Insn::call_helper(helper_ids::SET_RETVAL),
        ]))
    };
    match (set(-1), set(1)) {
        (ProbeOutcome::Yes, ProbeOutcome::Yes) => ProbeOutcome::No,
        (ProbeOutcome::Yes, ProbeOutcome::No) => ProbeOutcome::Yes,
        // The helper does not exist.
        (ProbeOutcome::No, _) => ProbeOutcome::No,
        (unknown @ ProbeOutcome::Unknown(_), _) | (_, unknown) => unknown,
    }
}

/// `MAX_CALL_FRAMES` in include/linux/bpf_verifier.h: since 7.2, and before.
const CALL_FRAMES: [usize; 2] = [16, 8];

/// A chain of functions, each calling the next one.
fn nested(functions: usize) -> Vec<Insn> {
    let call = [Insn::call_function(1), Insn::exit()];
    let mut insns = call.repeat(functions - 1);
    insns.extend([Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()]);
    insns
}
