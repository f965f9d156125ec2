//! Why a run is stopped.

use super::value::Region;

/// A run that was stopped: the program did something that the kernel's verifier would have rejected, or that depends on what the
/// model does not have, it did not end, or the kernel would crash. The instruction that it names had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{program}, instruction {insn}: {text}: {reason}")]
pub struct Fault {
    /// The name of the program.
    pub program: String,
    /// The index of the instruction.
    pub insn: usize,
    /// The instruction in the verifier's syntax.
    pub text: String,
    /// The source line that it comes from, as in ``limit.bpf.c:14, `return 1;` ``, if the program has line information.
    pub line: Option<Box<str>>,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are in the messages")]
pub enum Reason {
    /// An uninitialized register is read.
    #[error("r{register} is not initialized")]
    UninitRegister { register: u8 },
    /// Uninitialized stack is read.
    #[error("{len} bytes at stack offset {offset} are not initialized")]
    UninitStack { offset: i64, len: usize },
    /// A stack access is out of bounds.
    #[error("{len} bytes at stack offset {offset} are outside of the function's 512 bytes of stack")]
    StackBounds { offset: i64, len: usize },
    /// The functions of the call chain use too much stack together.
    #[error("the functions of the call chain use {bytes} bytes of stack together; 512 is the most")]
    StackTotal { bytes: usize },
    /// An access that must be aligned is not.
    #[error("the access of {size} bytes is not aligned")]
    Misaligned { size: usize },
    /// A part of a pointer is used, or a pointer is used as bytes.
    #[error("a pointer is used in parts or as plain bytes")]
    PartialPointer,
    /// An access is out of the bounds of the memory that the pointer points to.
    #[error("{len} bytes at offset {offset} are outside of {region}, which has {size} bytes")]
    Bounds { region: Region, offset: i64, len: usize, size: usize },
    /// Memory is accessed through a value that is not a pointer to memory.
    #[error("memory is accessed through {region}")]
    NotMemory { region: Region },
    /// A struct of the kernel has no member there.
    #[error("{size} bytes at offset {offset} of struct {name} are not one of its members")]
    StructMember { name: &'static str, offset: i64, size: usize },
    /// A null pointer is dereferenced.
    #[error("memory is accessed through a null pointer")]
    Null,
    /// The context has no such field, or it cannot be accessed like that.
    #[error("invalid context access: {size} bytes at offset {offset}")]
    Context { offset: i64, size: usize },
    /// Read-only memory is written.
    #[error("{region} can only be read")]
    ReadOnly { region: Region },
    /// An operation on a pointer whose result would depend on addresses.
    #[error("the result depends on an address: the operands are {left} and {right}")]
    DependsOnAddress { left: Region, right: Region },
    /// Memory is read that the model does not have: what the kernel has there is not known.
    #[error("the {len}-byte read at {address:#x}{} is not modelled", place(*of))]
    UnknownMemory { address: u64, len: usize, of: Option<(&'static str, u64)> },
    /// A pointer is stored where only numbers may be.
    #[error("a pointer is stored to {region}, where programs keep numbers")]
    PointerLeak { region: Region },
    /// An argument of a helper has the wrong type.
    #[error("r{register} is {found} where {helper} wants {wanted}")]
    Argument { helper: &'static str, register: u8, wanted: &'static str, found: Region },
    /// An argument of a helper that is a number is a pointer, whose address the kernel would take.
    #[error("r{register} is {found} where {helper} wants a number")]
    AddressAsNumber { helper: &'static str, register: u8, found: Region },
    /// A size is 0, negative or too large.
    #[error("r{register} = {size} is not a valid size for {helper}")]
    Size { helper: &'static str, register: u8, size: i64 },
    /// A helper does not accept this kind of map.
    #[error("{helper} cannot be called with a map of kind {kind}")]
    MapKind { helper: &'static str, kind: &'static str },
    /// The call chain is deeper than the kernel allows.
    #[error("the call stack of {frames} frames is too deep")]
    TooDeep { frames: usize },
    /// A ring buffer record was reserved and neither submitted nor discarded.
    #[error("a ring buffer record is reserved and neither submitted nor discarded")]
    Unreleased,
    /// The ring buffer record is already submitted or discarded.
    #[error("the ring buffer record has been submitted or discarded")]
    Released,
    /// There is no dynptr where a helper wants one.
    #[error("there is no initialized dynptr on the stack at offset {offset}")]
    NotDynptr { offset: i64 },
    /// A dynptr of another type is wanted.
    #[error("only a dynptr of a ring buffer can be submitted or discarded")]
    DynptrType,
    /// A dynptr is overwritten that must be submitted or discarded.
    #[error("cannot overwrite a dynptr that is neither submitted nor discarded")]
    OverwrittenDynptr,
    /// A helper writes to memory of which a part is a dynptr.
    #[error("{len} bytes are written at stack offset {offset}, where there is a dynptr")]
    WrittenDynptr { offset: i64, len: usize },
    /// The program or a callback returns something other than 0 or 1.
    #[error("At {at} the register R0 has value {value} and should have been in [0, 1]")]
    ReturnValue { at: &'static str, value: i64 },
    /// A program or a callback returns a pointer.
    #[error("R0 is {region} where a number is returned")]
    ReturnsPointer { region: Region },
    /// The argument of `bpf_set_retval` is not an errno.
    #[error("At bpf_set_retval the register R1 has value {value} and should have been in [-4095, 0]")]
    Retval { value: i64 },
    /// The format string of `bpf_snprintf` is invalid.
    #[error("the format is not valid for {helper}")]
    Format { helper: &'static str },
    /// The model's memory for maps is used up, while a kernel would have more.
    #[error("the maps take more than {} MiB together, which is the most here", most >> 20)]
    MapMemory { most: u64 },
    /// The instruction budget is used up.
    #[error("the budget of {budget} instructions is used up")]
    Budget { budget: u64 },
    /// Loops whose end the verifier need not know have gone on for very long together. The kernel has no limit there.
    #[error("callbacks and may_goto have gone on {rounds} times in this run; the kernel would stall here")]
    Stall { rounds: u64 },
    /// The attachment has no cgroup storage for the program, which got there by a link update or a tail call.
    #[error(
        "this kernel would crash here: {helper} follows a null pointer, for the attachment has no storage of type {kind}; \
         it was made for another program"
    )]
    NoStorage { helper: &'static str, kind: &'static str },
    /// The attachment has smaller cgroup storage than the program was verified with. It got there in the same way.
    #[error(
        "this kernel would crash here, or corrupt its memory: {helper} returns storage of {found} bytes, which was made for \
         another program; this one may access {size} bytes"
    )]
    ShortStorage { helper: &'static str, found: u32, size: u32 },
    /// The program counter is at the second half of a 64-bit immediate load, or past the end of the program.
    #[error("the jump leads to no instruction")]
    NoInstruction,
}

impl Reason {
    /// Whether the kernel itself would crash, which its verifier cannot prevent.
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::NoStorage { .. } | Self::ShortStorage { .. })
    }

    /// Whether the kernel would go on, with what the model does not have: addresses as numbers, memory of its own, and its
    /// descriptions of maps (`struct bpf_map`). The kernel lets root's programs use them.
    pub fn is_not_modelled(&self) -> bool {
        matches!(
            self,
            Self::UnknownMemory { .. }
                | Self::DependsOnAddress { .. }
                | Self::AddressAsNumber { .. }
                | Self::PointerLeak { .. }
                | Self::PartialPointer
                | Self::NotMemory { region: Region::Map(_) }
        )
    }
}

/// The struct that an address is in or after, and the offset there.
fn place(of: Option<(&'static str, u64)>) -> String {
    of.map_or_else(String::new, |(name, offset)| format!(", offset {offset} of struct {name},"))
}
