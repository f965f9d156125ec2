//! Instructions that are none: with an unknown opcode, a register that does not exist, or something in a reserved field.
//!
//! Since 7.2, the kernel looks for these in all instructions first (`check_insn_fields()` in kernel/bpf/verifier.c). Before, it
//! looks there for some of them (`resolve_pseudo_ldimm64()`), and for the others when a path gets to the instruction
//! (`do_check()`).

use knobgate_bpf::{DecodeError, Insn, Operation, opcode};

use super::rejection::Rejection;
use crate::Profile;

/// What is wrong with an instruction as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are in the messages")]
pub enum MalformedInsn {
    /// The instruction set has no such opcode.
    #[error("unknown opcode {opcode:02x}")]
    Opcode { opcode: u8 },
    /// Only registers up to r10 exist.
    #[error("R{register} is invalid")]
    Register { register: u8 },
    /// A field is set that the instruction does not have, or to a value that means nothing.
    #[error("{of} uses reserved fields")]
    ReservedFields { of: &'static str },
    /// A `may_goto` with an immediate or registers.
    #[error("invalid may_goto imm {imm}")]
    MayGoto { imm: i32 },
    /// The immediate is no atomic operation.
    #[error("BPF_ATOMIC uses invalid atomic opcode {imm:02x}")]
    AtomicOpcode { imm: i32 },
    /// The second half of a 64-bit immediate load is missing, or has more than an immediate.
    #[error("invalid bpf_ld_imm64 insn")]
    LoadImm64,
    /// The source field of a 64-bit immediate load means nothing.
    #[error("unrecognized bpf_ld_imm64 insn")]
    LoadImm64Source,
}

/// An instruction that the kernel rejects.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) reason: Rejection,
    /// An instruction that leads to the same places, if the kernel rejects this one only when a path gets to it.
    pub(super) similar: Option<Operation>,
}

/// Decodes the instruction at `index`.
pub(super) fn decode(insns: &[Insn], index: usize, profile: &Profile) -> Result<Operation, Box<Rejected>> {
    let (insn, second) = (insns[index], insns.get(index + 1).copied());
    // The offset of an exit is the only field that no kernel looks at.
    if insn.with_off(0) == Insn::exit() {
        return Ok(Operation::Exit);
    }
    let decoded = Operation::at(insns, index);
    let similar = decoded.clone().or_else(|_| similar(insn, second)).ok();
    let unknown = similar.as_ref().and_then(|similar| unknown_instruction(similar, profile));
    let (reason, always) = match (decoded, unknown) {
        (Ok(operation), None) => return Ok(operation),
        (Ok(_), Some((what, always))) | (Err(_), Some((what, always @ true))) => {
            (Rejection::UnknownInstruction { insn: index, what, kernel: profile.name }, always)
        }
        (Err(_), _) => {
            let (malformed, always) = find_malformed(insn, second, profile);
            (Rejection::Unsafe { insn: index, violation: malformed.into() }, always)
        }
    };
    Err(Box::new(Rejected { reason, similar: similar.filter(|_| !always) }))
}

/// The same instruction without what does not matter to where it leads.
fn similar(insn: Insn, second: Option<Insn>) -> Result<Operation, DecodeError> {
    let (is_jump, operation) =
        (matches!(insn.class(), opcode::JMP | opcode::JMP32), insn.opcode & opcode::OPERATION_MASK);
    let is_call = is_jump && operation == opcode::CALL;
    let is_long_jump = insn.class() == opcode::JMP32 && operation == opcode::JA;
    let keeps_src = is_call && matches!(insn.src(), opcode::PSEUDO_CALL | opcode::PSEUDO_KFUNC_CALL)
        || insn.is_load_imm64();
    let is_swap = matches!(insn.class(), opcode::ALU | opcode::ALU64) && operation == opcode::END;
    let is_small_atomic = insn.class() == opcode::STX
        && insn.opcode & opcode::MODE_MASK == opcode::ATOMIC
        && matches!(insn.opcode & opcode::SIZE_MASK, opcode::B | opcode::H);
    let src = if keeps_src { insn.src() } else { 0 };
    let off = if is_jump && !is_call && !is_long_jump && operation != opcode::EXIT { insn.off } else { 0 };
    let imm = if is_call || is_long_jump || insn.is_load_imm64() {
        insn.imm
    } else if is_swap {
        16
    } else if is_small_atomic {
        opcode::LOAD_ACQ
    } else {
        0
    };
    let plain = Insn::new(insn.opcode, 0, src, off, imm);
    Operation::at(&[plain, Insn::default().with_imm(second.unwrap_or_default().imm)], 0)
}

/// What is wrong with an instruction that cannot be decoded, and whether this is so wherever it is.
fn find_malformed(insn: Insn, second: Option<Insn>, profile: &Profile) -> (MalformedInsn, bool) {
    use MalformedInsn as M;
    let checks_first = profile.version >= (7, 2);
    let mode = insn.opcode & opcode::MODE_MASK;
    let reserved = |of| M::ReservedFields { of };
    if let Some(register) = invalid_register(insn) {
        return (M::Register { register }, checks_first);
    }
    let found = match insn.class() {
        opcode::LDX => return (reserved("BPF_LDX"), true),
        _ if !insn.is_load_imm64() && similar(insn, second).is_err() => {
            return (M::Opcode { opcode: insn.opcode }, true);
        }
        opcode::LD if insn.is_load_imm64() => {
            let is_half = second.is_none_or(|second| second != Insn::default().with_imm(second.imm));
            match () {
                () if is_half => return (M::LoadImm64, true),
                () if similar(insn, second).is_err() => return (M::LoadImm64Source, true),
                () => reserved("BPF_LD_IMM64"),
            }
        }
        opcode::LD => reserved("BPF_LD_[ABS|IND]"),
        opcode::ST => reserved("BPF_ST"),
        // Atomic operations are the only ones that 7.2 does not look at first.
        opcode::STX if mode == opcode::ATOMIC && profile.atomics => {
            return (M::AtomicOpcode { imm: insn.imm }, false);
        }
        // Before 5.12, which has other atomic operations than addition.
        opcode::STX => return (reserved("BPF_STX"), checks_first || !profile.atomics),
        opcode::ALU | opcode::ALU64 => reserved(match insn.opcode & opcode::OPERATION_MASK {
            opcode::NEG => "BPF_NEG",
            opcode::END => "BPF_END",
            opcode::MOV => "BPF_MOV",
            _ => "BPF_ALU",
        }),
        _ => match insn.opcode & opcode::OPERATION_MASK {
            opcode::CALL => reserved("BPF_CALL"),
            opcode::JA => reserved("BPF_JA"),
            opcode::EXIT => reserved("BPF_EXIT"),
            opcode::JCOND => M::MayGoto { imm: insn.imm },
            _ => reserved("BPF_JMP/JMP32"),
        },
    };
    (found, checks_first)
}

/// The register in a field for one that does not exist, if everything else is right.
fn invalid_register(insn: Insn) -> Option<u8> {
    let has_src = match insn.class() {
        opcode::LDX | opcode::STX => true,
        opcode::ALU | opcode::ALU64 | opcode::JMP | opcode::JMP32 => {
            insn.opcode & opcode::SOURCE_MASK == opcode::X
        }
        _ => false,
    };
    let existing = |register: u8| if register > 10 { 0 } else { register };
    let src = if has_src { existing(insn.src()) } else { insn.src() };
    let repaired = Insn::new(insn.opcode, existing(insn.dst()), src, insn.off, insn.imm);
    Operation::at(&[repaired, Insn::default()], 0).ok()?;
    [insn.src(), insn.dst()].into_iter().find(|register| *register > 10)
}

/// What a kernel lacks of the instruction set, and whether it rejects that wherever it is: by its opcode. It finds the rest in
/// other fields.
fn unknown_instruction(operation: &Operation, profile: &Profile) -> Option<(&'static str, bool)> {
    use knobgate_bpf::{AluOp, AtomicOp, ByteOrder, Size};
    let (is_known, what, by_opcode) = match operation {
        Operation::Alu { op: AluOp::SDiv | AluOp::SMod, .. } | Operation::MovSigned { .. } => {
            (profile.isa_v4, "ISA v4", false)
        }
        Operation::Swap { order: ByteOrder::Swap, .. } | Operation::Load { signed: true, .. } => {
            (profile.isa_v4, "ISA v4", true)
        }
        Operation::Jump { long: true, .. } => (profile.long_jump, "gotol", true),
        Operation::Atomic { op, .. } => (profile.atomics || *op == AtomicOp::Add, "atomic operations", true),
        Operation::LoadAcquire { size, .. } | Operation::StoreRelease { size, .. } => {
            let is_small = matches!(size, Size::U8 | Size::U16);
            (profile.acquire_release, "load-acquire and store-release", is_small || !profile.atomics)
        }
        Operation::MayGoto { .. } => (profile.may_goto, "may_goto", true),
        _ => (true, "", false),
    };
    (!is_known).then_some((what, by_opcode))
}
