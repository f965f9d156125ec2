//! Why a run was stopped.

use super::value::Region;

/// A run that was stopped, because a program did what the kernel's verifier would not have let it do, because it did not
/// end, or because the kernel would crash. Nothing of the instruction that it names was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{program}, instruction {insn}: {text}: {reason}")]
pub struct Fault {
    /// The name of the program.
    pub program: String,
    /// The index of the instruction.
    pub insn: usize,
    /// The instruction in the verifier's syntax.
    pub text: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are in the messages")]
pub enum Reason {
    /// A register is read that nothing was stored to.
    #[error("r{register} is read before anything is stored to it")]
    UninitRegister { register: u8 },
    /// Stack is read that nothing was stored to.
    #[error("{len} bytes at stack offset {offset} are read before anything is stored there")]
    UninitStack { offset: i64, len: usize },
    /// An access to the stack is outside of it.
    #[error("{len} bytes at stack offset {offset} are outside of the function's 512 bytes of stack")]
    StackBounds { offset: i64, len: usize },
    /// The functions in progress use too much stack together.
    #[error("the functions in progress use {bytes} bytes of stack together; 512 is the most")]
    StackTotal { bytes: usize },
    /// An access is not aligned to its size, where it has to be.
    #[error("the access of {size} bytes is not aligned")]
    Misaligned { size: usize },
    /// A part of a pointer is used, or a pointer as bytes.
    #[error("a pointer is used in parts or as plain bytes")]
    PartialPointer,
    /// An access is outside of what the pointer points into.
    #[error("{len} bytes at offset {offset} are outside of {region}, which has {size} bytes")]
    Bounds { region: Region, offset: i64, len: usize, size: usize },
    /// Memory is accessed through something that is no pointer to memory.
    #[error("memory is accessed through {region}")]
    NotMemory { region: Region },
    /// A null pointer is dereferenced.
    #[error("memory is accessed through a null pointer")]
    Null,
    /// The context has no such field, or it cannot be accessed in that way.
    #[error("invalid context access: {size} bytes at offset {offset}")]
    Context { offset: i64, size: usize },
    /// Memory is written that programs may only read.
    #[error("{region} can only be read")]
    ReadOnly { region: Region },
    /// An operation on a pointer whose result would depend on addresses.
    #[error("the result depends on an address: the operands are {left} and {right}")]
    DependsOnAddress { left: Region, right: Region },
    /// A pointer is stored where only numbers may be.
    #[error("a pointer is stored to {region}, where programs keep numbers")]
    PointerLeak { region: Region },
    /// An argument of a helper is of the wrong kind.
    #[error("r{register} is {found} where {helper} wants {wanted}")]
    Argument { helper: &'static str, register: u8, wanted: &'static str, found: Region },
    /// A size is 0 or negative, or too large.
    #[error("r{register} = {size} is no size that {helper} takes")]
    Size { helper: &'static str, register: u8, size: i64 },
    /// A map is of a kind that a helper has no use for.
    #[error("{helper} cannot be called with a map of kind {kind}")]
    MapKind { helper: &'static str, kind: &'static str },
    /// More functions are in progress than the kernel allows.
    #[error("the call of {frames} functions is too deep")]
    TooDeep { frames: usize },
    /// A ring buffer record was reserved and neither submitted nor discarded.
    #[error("a ring buffer record is reserved and neither submitted nor discarded")]
    Unreleased,
    /// The record was submitted or discarded before.
    #[error("the ring buffer record has been submitted or discarded")]
    Released,
    /// The program returns something other than 0 or 1, or a callback does.
    #[error("At {at} the register R0 has value {value} and should have been in [0, 1]")]
    ReturnValue { at: &'static str, value: i64 },
    /// A program or a callback returns a pointer.
    #[error("R0 is {region} where a number is returned")]
    ReturnsPointer { region: Region },
    /// The argument of `bpf_set_retval` is not an errno.
    #[error("At bpf_set_retval the register R1 has value {value} and should have been in [-4095, 0]")]
    Retval { value: i64 },
    /// A format string of `bpf_snprintf` or `bpf_trace_printk` asks for what it cannot have.
    #[error("the format is not one that {helper} takes")]
    Format { helper: &'static str },
    /// The maps have no memory for what the program adds, where a kernel would have some.
    #[error("the maps take more than {} MiB together, which is the most here", most >> 20)]
    MapMemory { most: u64 },
    /// The instruction budget is used up.
    #[error("the budget of {budget} instructions is used up")]
    Budget { budget: u64 },
    /// The attachment has no storage, since the program came to it by a link update or a tail call.
    #[error(
        "this kernel would crash here: {helper} follows a null pointer, for the attachment has no storage of type {kind}; \
         it was made for another program"
    )]
    NoStorage { helper: &'static str, kind: &'static str },
    /// The attachment has shorter storage than the program was verified with, since it came to it in the same way.
    #[error(
        "this kernel would crash here, or corrupt its memory: {helper} returns storage of {found} bytes, which was made for \
         another program; this one may access {size} bytes"
    )]
    ShortStorage { helper: &'static str, found: u32, size: u32 },
    /// The second half of a 64-bit immediate load, or the end of the program.
    #[error("the jump leads to no instruction")]
    NoInstruction,
}

impl Reason {
    /// Whether it is the kernel that fails, and nothing that the verifier could have found in the program.
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::NoStorage { .. } | Self::ShortStorage { .. })
    }
}
