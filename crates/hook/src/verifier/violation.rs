//! What the verifier finds wrong with an instruction, in its own words: those of kernel/bpf/verifier.c in 6.18.

use super::insn_fields::MalformedInsn;
use super::spin_lock::LockMisuse;
use crate::Errno;

/// What the verifier finds wrong with an instruction.
///
/// Offsets, sizes and bounds are in bytes. Types of registers have the kernel's names (`reg_type_str()` in
/// kernel/bpf/log.c): `scalar`, `ctx`, `fp`, `map_value_or_null`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are in the messages")]
pub enum Violation {
    /// It is no instruction.
    #[error(transparent)]
    Malformed(#[from] MalformedInsn),
    /// A register is read that holds nothing: it was never set, or a call has clobbered it.
    #[error("R{register} !read_ok")]
    UninitRegister { register: u8 },
    /// The frame pointer is written.
    #[error("frame pointer is read only")]
    FramePointer,
    /// A number is shifted by as many bits as it has, or more.
    #[error("invalid shift {by}")]
    Shift { by: i32 },
    /// A number is divided by a constant 0.
    #[error("div by zero")]
    DivisionByZero,

    /// A 32-bit operation on a pointer, other than subtraction.
    #[error("R{register} 32-bit pointer arithmetic prohibited")]
    NarrowPointerArithmetic { register: u8 },
    /// Arithmetic on a pointer that may be null.
    #[error("R{register} pointer arithmetic on {of} prohibited, null-check it first")]
    NullableArithmetic { register: u8, of: &'static str },
    /// Arithmetic on a pointer of a type that allows none.
    #[error("R{register} pointer arithmetic on {of} prohibited")]
    PointerArithmetic { register: u8, of: &'static str },
    /// An operation on a pointer that is neither addition nor subtraction.
    #[error("R{register} pointer arithmetic with {operator} operator prohibited")]
    PointerOperator { register: u8, operator: &'static str },
    /// `&`, `|` or `^` on a pointer.
    #[error("R{register} bitwise operator {operator} on pointer prohibited")]
    BitwiseOnPointer { register: u8, operator: &'static str },
    /// An operation on two pointers, other than subtraction.
    #[error("R{register} pointer {operator} pointer prohibited")]
    PointerPointer { register: u8, operator: &'static str },
    /// A pointer is subtracted from a number.
    #[error("R{register} tried to subtract pointer from scalar")]
    PointerFromScalar { register: u8 },
    /// Something is subtracted from a pointer to the stack.
    #[error("R{register} subtraction from stack pointer prohibited")]
    StackSubtraction { register: u8 },
    /// A constant is too large to be added to a pointer.
    #[error("math between {of} pointer and {value} is not allowed")]
    PointerMath { of: &'static str, value: i64 },
    /// The offset of a pointer is too large.
    #[error("{of} pointer offset {off} is not allowed")]
    PointerOffset { of: &'static str, off: i32 },
    /// A number without a lower bound is added to a pointer.
    #[error("math between {of} pointer and register with unbounded min value is not allowed")]
    UnboundedMath { of: &'static str },
    /// The variable part of an offset is too large.
    #[error("value {value} makes {of} pointer be out of bounds")]
    PointerOutOfBounds { value: i64, of: &'static str },

    /// Memory is accessed through a value that is not a pointer to any, or may be null.
    #[error("R{register} invalid mem access '{found}'")]
    MemoryAccess { register: u8, found: &'static str },
    /// The lower bound of an offset may be negative.
    #[error("R{register} min value is negative, either use unsigned index or do a if (index >=0) check.")]
    NegativeOffset { register: u8 },
    /// An offset has no upper bound.
    #[error("R{register} unbounded memory access, make sure to bounds check any such access")]
    UnboundedOffset { register: u8 },
    /// The least offset is out of bounds.
    #[error("R{register} min value is outside of the allowed memory range")]
    LeastOffset { register: u8, access: OutOfBounds },
    /// The greatest offset is out of bounds.
    #[error("R{register} max value is outside of the allowed memory range")]
    GreatestOffset { register: u8, access: OutOfBounds },
    /// A map that programs may only read is written.
    #[error("write into map forbidden, value_size={value_size} off={off} size={size}")]
    WriteIntoMap { value_size: u32, off: i32, size: u32 },
    /// A map that programs may only write is read.
    #[error("read from map forbidden, value_size={value_size} off={off} size={size}")]
    ReadFromMap { value_size: u32, off: i32, size: u32 },
    /// The key that a callback gets is written.
    #[error("write to change key R{register} not allowed")]
    WriteToKey { register: u8 },
    /// The kernel's own description of a map is written; root may only read it.
    #[error("only read from {description} is supported")]
    MapDescription { description: &'static str },
    /// A negative offset into the kernel's own description of a map.
    #[error("R{register} is {description} invalid negative access: off={off}")]
    NegativeMapAccess { register: u8, description: &'static str, off: i32 },
    /// The context, which has the fields `write` and `file_pos`, is not accessed as it can be.
    #[error("invalid bpf_context access off={off} size={size}")]
    Context { off: i32, size: u32 },
    /// The context is written with an immediate, which this kernel does not accept.
    #[error("BPF_ST stores into R{register} ctx is not allowed")]
    StoreToContext { register: u8 },
    /// An atomic operation on the context.
    #[error("BPF_ATOMIC stores into R{register} {of} is not allowed")]
    AtomicOn { register: u8, of: &'static str },
    /// A pointer with an offset where there must be none.
    #[error("dereference of modified {of} ptr R{register} off={off} disallowed")]
    ModifiedPointer { of: &'static str, register: u8, off: i32 },
    /// The same with a negative offset.
    #[error("negative offset {of} ptr R{register} off={off} disallowed")]
    NegativePointer { of: &'static str, register: u8, off: i32 },
    /// The same with a variable offset.
    #[error("variable {of} access var_off={var_off} disallowed")]
    VariablePointer { of: &'static str, var_off: String },
    /// An instruction accesses the context on one path and other memory on another.
    #[error("same insn cannot be used with different pointers")]
    DifferentPointers,
    /// An access that must be aligned is not.
    #[error("misaligned {of}access off {var_off}+{off}+{insn_off} size {size}")]
    Misaligned { of: &'static str, var_off: String, off: i32, insn_off: i32, size: u32 },

    /// A stack access is out of bounds.
    #[error("invalid{access} stack R{register} off={off} size={size}")]
    StackAccess { access: &'static str, register: u8, off: i64, size: u32 },
    /// A stack access at a variable offset may be out of bounds.
    #[error("invalid variable-offset{access} stack R{register} var_off={var_off} off={off} size={size}")]
    VariableStackAccess { access: &'static str, register: u8, var_off: String, off: i32, size: u32 },
    /// A stack access at an offset without bounds.
    #[error("invalid unbounded variable-offset{access} stack R{register}")]
    UnboundedStackAccess { access: &'static str, register: u8 },
    /// The stack is written at a variable offset, on a kernel that does not allow this (before 5.12).
    #[error("variable stack access var_off={var_off} off={off} size={size}")]
    VariableStackWrite { var_off: String, off: i32, size: u32 },
    /// Uninitialized stack is read, on a kernel that does not allow this.
    #[error("invalid read from stack off {off}+{at} size {size}")]
    UninitStack { off: i64, at: i64, size: u32 },
    /// A helper would read uninitialized stack, on a kernel that does not allow this.
    #[error("invalid read from stack R{register} off {off}+{at} size {size}")]
    UninitStackArgument { register: u8, off: i64, at: i64, size: u32 },
    /// A part of a spilled pointer is read.
    #[error("invalid size of register fill")]
    PartialFill,
    /// A part of a pointer is stored to the stack.
    #[error("invalid size of register spill")]
    PartialSpill,
    /// A pointer to the stack is stored to the stack of a caller.
    #[error("cannot spill pointers to stack into stack frame of the caller")]
    StackPointerInCaller,

    /// An argument has the wrong type.
    #[error("R{register} type={found} expected={expected}")]
    ArgumentType { register: u8, found: &'static str, expected: &'static str },
    /// A helper writes to memory that cannot be written.
    #[error("R{register} cannot write into {of}")]
    WriteArgument { register: u8, of: &'static str },
    /// The size of an argument may be negative.
    #[error("R{register} min value is negative, either use unsigned or 'var &= const'")]
    NegativeSize { register: u8 },
    /// The size of an argument may be 0.
    #[error("R{register} invalid zero-sized read: u64=[{min},{max}]")]
    ZeroSize { register: u8, min: u64, max: u64 },
    /// The size of an argument is a constant 0.
    #[error("invalid zero-sized read")]
    ZeroStackRead,
    /// The size of an argument has no upper bound.
    #[error("R{register} unbounded memory access, use 'var &= const' or 'if (var < const)'")]
    UnboundedSize { register: u8 },
    /// A size that must be a constant is not.
    #[error("R{register} is not a known constant'")]
    NotConstant { register: u8 },
    /// A string that must be constant is not in a frozen map.
    #[error("R{register} does not point to a readonly map'")]
    NotReadOnly { register: u8 },
    /// The address of a string that must be constant is not.
    #[error("R{register} is not a constant address'")]
    NotConstantAddress { register: u8 },
    /// A string that must be constant is in a map with several values.
    #[error("no direct value access support for this map type")]
    NoDirectValue,
    /// A string that must be constant does not end.
    #[error("string is not zero-terminated")]
    NotTerminated,
    /// A helper is called with a kind of map that it does not work on.
    #[error("cannot pass map_type {map_type} into func {name}#{id}")]
    MapKind { map_type: u32, name: &'static str, id: u32 },
    /// A map without callbacks is iterated over.
    #[error("callback function not allowed for map")]
    MapWithoutCallback,
    /// The data of `bpf_snprintf` is no array of u64; the kernel says nothing about it.
    #[error("the size of the data of bpf_snprintf is {size}, which is not a multiple of 8")]
    SnprintfData { size: u64 },
    /// `bpf_loop` gets a pointer instead of the number of rounds.
    #[error("verifier bug: backtracking misuse")]
    PointerAsCount,
    /// `bpf_get_local_storage` gets flags.
    #[error("get_local_storage() doesn't support non-zero flags")]
    StorageFlags,
    /// What is released is not a record that was reserved.
    #[error("R{register} must be referenced when passed to release function")]
    NotReferenced { register: u8 },
    /// What is released is not the start of the record.
    #[error("R{register} must have zero offset when passed to release func or trusted arg to kfunc")]
    ReleaseOffset { register: u8 },
    /// A record is neither submitted nor discarded. `insn` has reserved it.
    #[error("BPF_EXIT instruction in main prog would lead to reference leak")]
    Unreleased { insn: usize },
    /// A tail call while a record is reserved.
    #[error("tail_call would lead to reference leak")]
    TailCallLeak,

    /// The format of `bpf_snprintf`, or the number of its arguments.
    #[error("Invalid format string")]
    Format,
    /// A struct of the kernel is written.
    #[error("only read is supported")]
    StructWrite,
    /// What is read of a struct of the kernel is after the members that the model has. The kernel's struct is larger.
    #[error("access beyond struct {name} at off {off} size {size}")]
    BeyondStruct { name: &'static str, off: i32, size: u32 },
    /// What is read of a struct of the kernel is not within one of its members.
    #[error("access beyond struct {name} at off {off} size {size}")]
    StructMember { name: &'static str, off: i32, size: u32 },
    /// What is read of a struct of the kernel is not modelled.
    #[error("{size} bytes at offset {offset} of struct {name} are not modelled")]
    NotModelledMember { name: &'static str, offset: u32, size: u32 },
    /// A variable offset in a struct of the kernel.
    #[error("R{register} is ptr_{name} invalid variable offset: off={off}, var_off={var_off}")]
    StructVariableOffset { register: u8, name: &'static str, off: i32, var_off: String },
    /// A negative offset in a struct of the kernel.
    #[error("R{register} is ptr_{name} invalid negative access: off={off}")]
    StructNegativeOffset { register: u8, name: &'static str, off: i32 },
    /// A dynptr is not at a fixed place on the stack.
    #[error("dynptr has to be at a constant offset")]
    DynptrVariableOffset,
    /// A dynptr is not aligned to 8 bytes, or has no room on the stack.
    #[error("cannot pass in dynptr at an offset={off}")]
    DynptrOffset { off: i64 },
    /// There is no dynptr.
    #[error("Expected an initialized dynptr as arg #{argument}")]
    UninitDynptr { argument: u8 },
    /// There is no dynptr that could be submitted or discarded.
    #[error("arg {argument} is an unacquired reference")]
    UnacquiredReference { argument: u8 },
    /// A dynptr is overwritten that has to be submitted or discarded.
    #[error("cannot overwrite referenced dynptr")]
    OverwrittenDynptr,
    /// A helper may write where a dynptr is.
    #[error("potential write to dynptr at off={off} disallowed")]
    DynptrWrite { off: i64 },
    /// A dynptr is made of memory that is no value of a map.
    #[error("Unsupported reg type {found} for bpf_dynptr_from_mem data")]
    DynptrMemory { found: &'static str },

    /// A spin lock is not used as it has to be.
    #[error(transparent)]
    Lock(#[from] LockMisuse),

    /// A function returns a pointer to the stack.
    #[error("cannot return stack pointer to the caller")]
    ReturnsStackPointer,
    /// A callback returns a pointer.
    #[error("R0 not a scalar value")]
    CallbackReturnsPointer,
    /// The program returns a pointer.
    #[error("At program exit the register R0 is not a known value ({found})")]
    ReturnsPointer { found: &'static str },
    /// The return value is not known to be 0 or 1.
    #[error("At {at} the register R0 has{found} should have been in [0, 1]")]
    ReturnValue { at: &'static str, found: Bounds },
    /// The argument of `bpf_set_retval` is not known to be an errno or 0 (7.2).
    #[error("At bpf_set_retval the register R1 has{found} should have been in [-4095, 0]")]
    Retval { found: Bounds },
    /// A pointer is passed instead of a number.
    #[error("R{register} is not a scalar")]
    NotAScalar { register: u8 },

    /// A path comes back to where it was, with the same state.
    #[error("infinite loop detected at insn {insn}")]
    InfiniteLoop { insn: usize },
    /// The verifier has followed too many instructions.
    #[error("BPF program is too large. Processed {processed} insn")]
    TooManyInsns { processed: u32 },
    /// Too many branches of one path are still to follow.
    #[error("The sequence of {jumps} jumps is too complex.")]
    TooManyJumps { jumps: usize },
    /// The call stack is too deep.
    #[error("the call stack of {frames} frames is too deep")]
    TooDeep { frames: usize },
}

/// An access to memory that has bounds, at one end of its possible offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds {
    /// How many bytes there are.
    pub memory: u32,
    /// Where the access starts.
    pub off: i64,
    /// How many bytes it takes.
    pub size: u32,
}

/// The signed bounds of a number, as the verifier prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
}

impl std::fmt::Display for Bounds {
    /// `verbose_invalid_scalar()`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min > i64::MIN {
            write!(f, " smin={}", self.min)?;
        }
        if self.max < i64::MAX {
            write!(f, " smax={}", self.max)?;
        }
        if (self.min, self.max) == (i64::MIN, i64::MAX) {
            f.write_str(" unknown scalar value")?;
        }
        Ok(())
    }
}

/// `ENOTSUPP`, an error number that only the kernel has a name for: include/linux/errno.h.
pub(crate) const ENOTSUPP: u32 = 524;

impl Violation {
    /// The number of the error of `BPF_PROG_LOAD`.
    pub const fn errno_number(&self) -> u32 {
        match self {
            Self::MapWithoutCallback | Self::NoDirectValue => ENOTSUPP,
            _ => self.errno().number(),
        }
    }

    /// The errno of `BPF_PROG_LOAD`; `EOPNOTSUPP` for the [number](Self::errno_number) 524, which has no name.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::TooManyInsns { .. } | Self::TooManyJumps { .. } | Self::TooDeep { .. } => Errno::E2BIG,
            Self::MapWithoutCallback | Self::NoDirectValue => Errno::EOPNOTSUPP,
            Self::PointerAsCount => Errno::EFAULT,
            Self::Format
            | Self::DynptrVariableOffset
            | Self::DynptrOffset { .. }
            | Self::UninitDynptr { .. }
            | Self::UnacquiredReference { .. }
            | Self::OverwrittenDynptr
            | Self::SnprintfData { .. }
            | Self::Malformed(_)
            | Self::Lock(
                LockMisuse::VariableOffset { .. }
                | LockMisuse::NoTypes { .. }
                | LockMisuse::NoLock { .. }
                | LockMisuse::Offset { .. }
                | LockMisuse::NotHeld
                | LockMisuse::Other
                | LockMisuse::Call
                | LockMisuse::Exit,
            )
            | Self::Shift { .. }
            | Self::DivisionByZero
            | Self::PointerMath { .. }
            | Self::PointerOffset { .. }
            | Self::UnboundedMath { .. }
            | Self::PointerOutOfBounds { .. }
            | Self::DifferentPointers
            | Self::StackPointerInCaller
            | Self::NotTerminated
            | Self::MapKind { .. }
            | Self::StorageFlags
            | Self::NotReferenced { .. }
            | Self::ReleaseOffset { .. }
            | Self::Unreleased { .. }
            | Self::TailCallLeak
            | Self::ReturnsStackPointer
            | Self::ReturnsPointer { .. }
            | Self::ReturnValue { .. }
            | Self::Retval { .. }
            | Self::NotAScalar { .. }
            | Self::InfiniteLoop { .. } => Errno::EINVAL,
            Self::StackAccess { off, size, .. } if *off + *size as i64 > 0 && *off < 0 && *off >= -512 => {
                Errno::EINVAL
            }
            _ => Errno::EACCES,
        }
    }
}
