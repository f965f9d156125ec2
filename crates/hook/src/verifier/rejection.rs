//! Why a program is rejected.

use knobgate_bpf::uapi::BPF_COMPLEXITY_LIMIT_INSNS;
use knobgate_bpf::{Unresolved, UnresolvedReason};

use super::Violation;
use super::decode::{MAPS_MAX, MAX_USED_MAPS};
use crate::{Errno, MapError};

/// Why a program is rejected. The messages are those of the kernel's verifier, where it has any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are in the messages")]
pub enum Rejection {
    /// There are no instructions.
    #[error("the program has no instructions")]
    Empty,
    /// There are more instructions than the kernel accepts.
    #[error("the program has {insns} instructions; {BPF_COMPLEXITY_LIMIT_INSNS} is the most")]
    TooLarge { insns: usize },
    /// The kernel does not have the instruction yet.
    #[error("instruction {insn}: Linux {kernel} does not know {what}")]
    UnknownInstruction { insn: usize, what: &'static str, kernel: &'static str },
    /// A map cannot be created.
    #[error("map {index}, {name}: {error}")]
    Map { index: usize, name: String, error: MapError },
    /// The given maps are not those of the program.
    #[error("the maps given are not of the kinds and sizes that the program's are")]
    OtherMaps,
    /// A map that is pinned by its name differs from the program's.
    #[error("the map pinned as {name} cannot be used: {differences}")]
    PinnedMap { name: String, differences: String },
    /// A map cannot be put into an array or a hash of maps.
    #[error("the map {inner} cannot be put into the map {outer}: {error}")]
    InnerMap { outer: Box<str>, inner: Box<str>, error: MapError },
    /// A program is for an array that the program does not have, or for an index beyond its end.
    #[error("map {map} is no program array with room for a program at index {index}")]
    TailCall { map: usize, index: u32 },
    /// A program in a program array uses cgroup storage that its caller does not.
    #[error(
        "a program in a program array has cgroup storage in the map {map}, which its caller does not use"
    )]
    ForeignStorage { map: String },
    /// A reference to a map, or to something else that only a loader knows, is unresolved or wrong.
    #[error(
        "instruction {insn}: the reference to a map or variable is not resolved, or does not fit the map"
    )]
    Relocation { insn: usize },
    /// The address of a function is loaded, on a kernel without `BPF_PSEUDO_FUNC` (5.13).
    #[error("instruction {insn}: unrecognized bpf_ld_imm64 insn")]
    FunctionAddress { insn: usize },
    /// A packet is read; this hook has none.
    #[error("instruction {insn}: BPF_LD_[ABS|IND] instructions not allowed for this program type")]
    PacketLoad { insn: usize },
    /// A kernel function is called; none is modelled.
    #[error("instruction {insn}: kernel function {btf_id} is not modelled")]
    KernelFunction { insn: usize, btf_id: u32 },
    /// An instruction needs something that the kernel lacks: a field that is relocated (CO-RE), or a weak function.
    #[error("instruction {insn}: {what}")]
    Unresolved { insn: usize, what: String },
    /// An instruction needs something of the kernel that the model does not have: a function, a variable, an option, or a field.
    #[error("instruction {insn}: {what} is not modelled")]
    NotModelledDependency { insn: usize, what: String },
    /// No helper has this number.
    #[error("instruction {insn}: invalid func unknown#{id}")]
    UnknownHelper { insn: usize, id: u32 },
    /// The helper is not available to this program type, expected attach type or kernel.
    #[error("instruction {insn}: program of this type cannot use helper {name}#{id}")]
    UnavailableHelper { insn: usize, id: u32, name: &'static str },
    /// The helper is for programs under the GPL.
    #[error(
        "instruction {insn}: cannot call GPL-restricted function from non-GPL compatible program ({name})"
    )]
    Gpl { insn: usize, name: &'static str },
    /// The helper may sleep, which programs of this hook must not.
    #[error("instruction {insn}: helper call might sleep in a non-sleepable prog ({name})")]
    MightSleep { insn: usize, name: &'static str },
    /// The kernel has the helper, but this model does not.
    #[error("instruction {insn}: helper {name}#{id} is not modelled")]
    NotModelled { insn: usize, id: u32, name: &'static str },
    /// A jump leaves the program.
    #[error("instruction {insn}: jump out of range to instruction {target}")]
    JumpOutOfRange { insn: usize, target: i64 },
    /// A jump leads into a 64-bit immediate load.
    #[error("instruction {insn}: jump into the middle of the 64-bit immediate load at instruction {target}")]
    JumpIntoLoad { insn: usize, target: usize },
    /// A jump leaves its function.
    #[error("instruction {insn}: jump out of range from its function to instruction {target}")]
    JumpLeavesFunction { insn: usize, target: usize },
    /// The functions that have a name are not those that are called or have their address taken.
    #[error("number of funcs in func_info doesn't match number of subprogs")]
    FunctionCount { named: usize, found: usize },
    /// The functions that have a name start elsewhere than those that are called.
    #[error("func_info BTF section doesn't match subprog layout in BPF program")]
    FunctionLayout { insn: usize },
    /// A function falls through to the next one, or past the end of the program.
    #[error("instruction {insn}: last insn is not an exit or jmp")]
    FallsOff { insn: usize },
    /// An instruction is unreachable.
    #[error("unreachable insn {insn}")]
    Unreachable { insn: usize },
    /// A backward jump, on a kernel without bounded loops.
    #[error("back-edge from insn {insn} to {target}")]
    BackEdge { insn: usize, target: usize },
    /// What an instruction does on some path is not safe.
    #[error("instruction {insn}: {violation}")]
    Unsafe { insn: usize, violation: Violation },
    /// The program uses more maps than the kernel accepts.
    #[error("The total number of maps per program has reached the limit of {MAX_USED_MAPS}")]
    TooManyUsedMaps,
    /// The program uses two maps with cgroup storage of one type.
    #[error("only one cgroup storage of each type is allowed")]
    SeveralStorages,
    /// More maps come with the program than the model has numbers for.
    #[error("{maps} maps come with the program; {MAPS_MAX} are the most that are modelled")]
    TooManyMaps { maps: usize },
    /// There are more functions than the kernel accepts: 256.
    #[error("too many subprograms")]
    TooManyFunctions,
    /// A chain of calls has more functions than the kernel has frames for, maybe because one of them calls itself. Code
    /// that no path gets to counts, too.
    #[error("the call stack of {frames} frames is too deep !")]
    TooDeep { frames: usize },
    /// A function makes a tail call while its callers use 256 bytes of stack or more.
    #[error("tail_calls are not allowed when call stack of previous frames is {bytes} bytes. Too large")]
    TailCallStack { bytes: usize },
    /// The address of a function is loaded that nothing calls.
    #[error("verifier bug: No program to jit at insn {remaining} (subprog < 0)")]
    RemovedFunction { insn: usize, remaining: usize },
    /// The functions of a call chain use too much stack together.
    #[error("combined stack size of {frames} calls is {bytes}. Too large")]
    StackTotal { frames: usize, bytes: usize },
}

impl Rejection {
    /// The rejection of a program that gets to an instruction that is not resolved.
    pub(super) fn unresolved(unresolved: &Unresolved) -> Self {
        let (insn, what) = (unresolved.insn, unresolved.what.clone());
        match unresolved.reason {
            UnresolvedReason::NotModelled => Self::NotModelledDependency { insn, what },
            _ => Self::Unresolved { insn, what },
        }
    }

    /// The index of the instruction at fault, if it is one.
    pub const fn insn(&self) -> Option<usize> {
        match *self {
            Self::UnknownInstruction { insn, .. }
            | Self::Relocation { insn, .. }
            | Self::FunctionAddress { insn, .. }
            | Self::PacketLoad { insn, .. }
            | Self::KernelFunction { insn, .. }
            | Self::Unresolved { insn, .. }
            | Self::NotModelledDependency { insn, .. }
            | Self::UnknownHelper { insn, .. }
            | Self::UnavailableHelper { insn, .. }
            | Self::Gpl { insn, .. }
            | Self::MightSleep { insn, .. }
            | Self::NotModelled { insn, .. }
            | Self::JumpOutOfRange { insn, .. }
            | Self::JumpIntoLoad { insn, .. }
            | Self::JumpLeavesFunction { insn, .. }
            | Self::FunctionLayout { insn }
            | Self::RemovedFunction { insn, .. }
            | Self::FallsOff { insn, .. }
            | Self::Unreachable { insn, .. }
            | Self::BackEdge { insn, .. }
            | Self::Unsafe { insn, .. } => Some(insn),
            Self::Empty
            | Self::TooLarge { .. }
            | Self::Map { .. }
            | Self::OtherMaps
            | Self::PinnedMap { .. }
            | Self::InnerMap { .. }
            | Self::TailCall { .. }
            | Self::ForeignStorage { .. }
            | Self::TooManyUsedMaps
            | Self::SeveralStorages
            | Self::TooManyMaps { .. }
            | Self::TooManyFunctions
            | Self::FunctionCount { .. }
            | Self::TooDeep { .. }
            | Self::TailCallStack { .. }
            | Self::StackTotal { .. } => None,
        }
    }

    /// What the kernel has and the model has not, if that is the reason: the kernel may accept the program.
    pub fn not_modelled(&self) -> Option<String> {
        match self {
            Self::NotModelled { id, name, .. } => Some(format!("helper {name}#{id}")),
            Self::KernelFunction { btf_id, .. } => Some(format!("kernel function {btf_id}")),
            Self::NotModelledDependency { what, .. } => Some(what.clone()),
            Self::Unsafe { violation: Violation::NotModelledMember { name, offset, size }, .. } => {
                Some(format!("{size} bytes at offset {offset} of struct {name}"))
            }
            Self::Map { error, .. } | Self::InnerMap { error, .. } => error.not_modelled(),
            // The kernel's structs are larger.
            Self::Unsafe { violation: Violation::BeyondStruct { name, off, size }, .. } => {
                Some(format!("{size} bytes at offset {off} of struct {name}"))
            }
            _ => None,
        }
    }

    /// The number of the error of `BPF_PROG_LOAD`, or of `BPF_MAP_CREATE` before it.
    pub const fn errno_number(&self) -> u32 {
        match self {
            Self::Unsafe { violation, .. } => violation.errno_number(),
            _ => self.errno().number(),
        }
    }

    /// The same as an errno; `EOPNOTSUPP` for 524, `ENOTSUPP`, which user space has no name for.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Empty | Self::TooLarge { .. } | Self::TooManyFunctions | Self::TooDeep { .. } => {
                Errno::E2BIG
            }
            Self::TooManyUsedMaps | Self::TooManyMaps { .. } => Errno::E2BIG,
            Self::SeveralStorages => Errno::EBUSY,
            Self::RemovedFunction { .. } => Errno::EFAULT,
            Self::Map { error, .. } | Self::InnerMap { error, .. } => error.errno(),
            Self::Unsafe { violation, .. } => violation.errno(),
            Self::TailCallStack { .. } | Self::StackTotal { .. } => Errno::EACCES,
            Self::UnknownInstruction { .. }
            | Self::OtherMaps
            | Self::PinnedMap { .. }
            | Self::Relocation { .. }
            | Self::FunctionAddress { .. }
            | Self::PacketLoad { .. }
            | Self::KernelFunction { .. }
            | Self::Unresolved { .. }
            | Self::NotModelledDependency { .. }
            | Self::UnknownHelper { .. }
            | Self::UnavailableHelper { .. }
            | Self::NotModelled { .. }
            | Self::Gpl { .. }
            | Self::MightSleep { .. }
            | Self::TailCall { .. }
            | Self::ForeignStorage { .. }
            | Self::JumpOutOfRange { .. }
            | Self::JumpIntoLoad { .. }
            | Self::JumpLeavesFunction { .. }
            | Self::FunctionCount { .. }
            | Self::FunctionLayout { .. }
            | Self::FallsOff { .. }
            | Self::Unreachable { .. }
            | Self::BackEdge { .. } => Errno::EINVAL,
        }
    }
}
