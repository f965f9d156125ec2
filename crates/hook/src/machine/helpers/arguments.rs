//! Arguments of helpers: `check_func_arg()` in kernel/bpf/verifier.c.

use knobgate_bpf::{ArgType, Helper, MapKind, helper_ids};

use super::{HelperEnv, HelperResult};
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};

/// Sizes beyond this are negative numbers: `BPF_MAX_VAR_SIZ`.
const SIZE_MAX: u64 = 1 << 29;

/// The arguments of one call: r1 to r5. Those that the helper's prototype names have the right types.
pub(in crate::machine) struct Arguments<'r> {
    pub(super) helper: &'static Helper,
    registers: &'r [Value; 11],
}

impl<'r> Arguments<'r> {
    /// Checks the registers against the prototype of `helper`.
    pub(in crate::machine) fn check(
        env: &HelperEnv<'_, '_>,
        helper: &'static Helper,
        registers: &'r [Value; 11],
    ) -> HelperResult<Self> {
        let arguments = Self { helper, registers };
        for (number, arg_type) in (1..).zip(helper.args()) {
            arguments.check_type(env, number, *arg_type)?;
        }
        Ok(arguments)
    }

    fn check_type(&self, env: &HelperEnv<'_, '_>, number: usize, arg_type: ArgType) -> HelperResult<()> {
        use ArgType::{
            Anything, ConstAllocSizeOrZero, ConstMapPtr, ConstSize, ConstSizeOrZero, ConstStr, Ctx, Dynptr,
            Func, MapKey, MapValue, Mem, MemOrNull, RingbufDynptr, RingbufMem, SpinLock, StackOrNull,
            UninitDynptr, UninitLong, UninitMapValue, UninitMem, UnsafePtr, WritableMem, WritableMemOrNull,
        };
        let value = self.register(number)?;
        let is_null = value.is_number() && value.bits == 0;
        let region = value.region;
        let (wanted, fits) = match arg_type {
            Anything | ConstAllocSizeOrZero | ConstSize | ConstSizeOrZero => {
                return self.check_number(number, arg_type, value);
            }
            UnsafePtr => ("an address", true),
            Dynptr | RingbufDynptr | UninitDynptr => ("the stack", region == Region::Stack),
            Ctx => ("the context", region == Region::Context && value.bits == 0),
            ConstMapPtr => ("a map", matches!(region, Region::Map(_))),
            Func => ("a function", matches!(region, Region::Function(_))),
            StackOrNull => ("the stack or null", is_null || region == Region::Stack),
            // Bounds are checked when the memory is used.
            MemOrNull | WritableMemOrNull => ("memory or null", is_null || region.has_offsets()),
            _ if is_null => return Err(Reason::Null),
            RingbufMem => {
                let is_start = matches!(region, Region::Record(_)) && value.bits == 0;
                ("the start of a ring buffer record", is_start)
            }
            SpinLock => ("a map value", matches!(region, Region::MapValue { .. })),
            MapKey | MapValue | UninitMapValue | Mem | WritableMem | UninitMem | UninitLong | ConstStr => {
                ("memory", region.has_offsets())
            }
        };
        if !fits {
            return Err(self.mismatch(number, wanted, region));
        }
        if arg_type == ConstMapPtr {
            self.check_map_kind(env.memory.map_def(self.map(number)).kind)?;
        }
        Ok(())
    }

    fn check_number(&self, number: usize, arg_type: ArgType, value: Value) -> HelperResult<()> {
        // What the address of a struct of the kernel is used for is up to the helper.
        let fits =
            if arg_type == ArgType::Anything { value.as_number().is_some() } else { value.is_number() };
        if !fits {
            let (helper, register) = (self.helper.name, number as u8);
            return Err(Reason::AddressAsNumber { helper, register, found: value.region });
        }
        match arg_type {
            ArgType::ConstSize => self.check_size(number, value.bits, false),
            ArgType::ConstSizeOrZero => self.check_size(number, value.bits, true),
            _ => Ok(()),
        }
    }

    fn check_size(&self, number: usize, size: u64, or_zero: bool) -> HelperResult<()> {
        if size >= SIZE_MAX || (size == 0 && !or_zero) {
            return Err(Reason::Size { helper: self.helper.name, register: number as u8, size: size as i64 });
        }
        Ok(())
    }

    /// Checks the kind of a map: `check_map_func_compatibility()`.
    fn check_map_kind(&self, kind: MapKind) -> HelperResult<()> {
        use MapKind::{
            Array, ArrayOfMaps, CgroupArray, CgroupStorage, Hash, HashOfMaps, LpmTrie, LruHash,
            LruPercpuHash, PercpuArray, PercpuCgroupStorage, PercpuHash, PerfEventArray, ProgArray, Queue,
            Ringbuf, Stack,
        };
        let fits = match self.helper.id {
            helper_ids::TAIL_CALL => kind == ProgArray,
            helper_ids::CURRENT_TASK_UNDER_CGROUP => kind == CgroupArray,
            helper_ids::GET_LOCAL_STORAGE => matches!(kind, CgroupStorage | PercpuCgroupStorage),
            helper_ids::FOR_EACH_MAP_ELEM => {
                matches!(kind, Array | PercpuArray | Hash | PercpuHash | LruHash | LruPercpuHash)
            }
            helper_ids::MAP_LOOKUP_ELEM if matches!(kind, ArrayOfMaps | HashOfMaps) => true,
            helper_ids::MAP_LOOKUP_ELEM | helper_ids::MAP_UPDATE_ELEM | helper_ids::MAP_DELETE_ELEM => {
                matches!(kind, Array | PercpuArray | Hash | PercpuHash | LruHash | LruPercpuHash | LpmTrie)
            }
            helper_ids::MAP_LOOKUP_PERCPU_ELEM => matches!(kind, PercpuArray | PercpuHash | LruPercpuHash),
            helper_ids::MAP_PUSH_ELEM | helper_ids::MAP_POP_ELEM | helper_ids::MAP_PEEK_ELEM => {
                matches!(kind, Queue | Stack)
            }
            helper_ids::PERF_EVENT_OUTPUT => kind == PerfEventArray,
            _ => kind == Ringbuf,
        };
        if fits { Ok(()) } else { Err(Reason::MapKind { helper: self.helper.name, kind: kind.name() }) }
    }

    /// The error for an argument of the wrong type.
    pub(super) fn mismatch(&self, number: usize, wanted: &'static str, found: Region) -> Reason {
        Reason::Argument { helper: self.helper.name, register: number as u8, wanted, found }
    }

    /// One of r1 to r5, even if the prototype does not name it.
    pub(super) fn register(&self, number: usize) -> HelperResult {
        let value = self.registers[number];
        if value.region == Region::Uninit {
            return Err(Reason::UninitRegister { register: number as u8 });
        }
        Ok(value)
    }

    /// A number.
    pub(super) fn number(&self, number: usize) -> u64 {
        self.registers[number].bits
    }

    /// A number of bytes.
    pub(super) fn size(&self, number: usize) -> usize {
        self.number(number) as usize
    }

    /// A pointer to memory, or null.
    pub(super) fn pointer(&self, number: usize) -> Value {
        self.registers[number]
    }

    /// The index of a map in the run.
    pub(super) fn map(&self, number: usize) -> u16 {
        if let Region::Map(map) = self.registers[number].region { map } else { 0 }
    }

    /// The first instruction of a function.
    pub(super) fn function(&self, number: usize) -> u32 {
        if let Region::Function(start) = self.registers[number].region { start } else { 0 }
    }
}
