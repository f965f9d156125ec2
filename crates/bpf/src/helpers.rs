//! The helpers that Linux accepts in programs of this hook.
//!
//! One table holds everything that is known about a helper: its number (`enum bpf_func_id` in include/uapi/linux/bpf.h),
//! its name, the release that made it available to cgroup/sysctl programs, what it requires (`cg_sysctl_func_proto` in
//! kernel/bpf/cgroup.c, `bpf_base_func_proto` in kernel/bpf/helpers.c), and its prototype (`struct bpf_func_proto` in
//! include/linux/bpf.h). Numbers and names are those of 6.18; older kernels have fewer helpers. The model of the hook has
//! exactly the helpers with a prototype. docs/support.md lists them all.

/// One helper.
#[derive(Debug)]
#[non_exhaustive]
pub struct Helper {
    /// Its number, the immediate of the call.
    pub id: u32,
    /// The kernel's name for it.
    pub name: &'static str,
    /// The first release in which cgroup/sysctl programs can call it.
    pub since: (u16, u16),
    /// Whether only programs under a license that is compatible with the GPL may call it (`gpl_only`).
    pub gpl_only: bool,
    /// The first release in which the process that loads the program needs `CAP_PERFMON` for it, if one does. Before 5.8,
    /// `CAP_SYS_ADMIN` was all that there was.
    pub perfmon_since: Option<(u16, u16)>,
    /// Whether it may sleep (`might_sleep`). Programs of this hook cannot be sleepable, so the verifier accepts no call of it.
    pub might_sleep: bool,
    /// Its prototype. `None`: the helper is not modelled, and only known by name, for listings and messages.
    pub proto: Option<FuncProto>,
}

/// The prototype of a helper.
#[derive(Debug)]
#[non_exhaustive]
pub struct FuncProto {
    /// The types of its arguments, in r1 and the registers after it.
    pub args: &'static [ArgType],
    /// What is in r0 afterwards.
    pub ret: ReturnType,
}

/// What a helper accepts as an argument: `enum bpf_arg_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgType {
    /// `ARG_ANYTHING`: any initialized value.
    Anything,
    /// `ARG_PTR_TO_CTX`
    Ctx,
    /// `ARG_CONST_MAP_PTR`
    ConstMapPtr,
    /// `ARG_PTR_TO_MAP_KEY`
    MapKey,
    /// `ARG_PTR_TO_MAP_VALUE`
    MapValue,
    /// `ARG_PTR_TO_MAP_VALUE | MEM_UNINIT`
    UninitMapValue,
    /// `ARG_PTR_TO_MEM | MEM_RDONLY`; the next argument is its size.
    Mem,
    /// `ARG_PTR_TO_MEM | PTR_MAYBE_NULL | MEM_RDONLY`; the next argument is its size.
    MemOrNull,
    /// `ARG_PTR_TO_MEM | MEM_WRITE`: memory that is initialized before the helper writes it. The next argument is its size.
    WritableMem,
    /// `ARG_PTR_TO_UNINIT_MEM`; the next argument is its size.
    UninitMem,
    /// `ARG_PTR_TO_MEM | PTR_MAYBE_NULL | MEM_WRITE`; the next argument is its size.
    WritableMemOrNull,
    /// `ARG_PTR_TO_FIXED_SIZE_MEM | MEM_UNINIT | MEM_WRITE | MEM_ALIGNED`, a `long`.
    UninitLong,
    /// `ARG_CONST_SIZE`: not 0.
    ConstSize,
    /// `ARG_CONST_SIZE_OR_ZERO`
    ConstSizeOrZero,
    /// `ARG_CONST_ALLOC_SIZE_OR_ZERO`
    ConstAllocSizeOrZero,
    /// `ARG_PTR_TO_RINGBUF_MEM | OBJ_RELEASE`
    RingbufMem,
    /// `ARG_PTR_TO_SPIN_LOCK`
    SpinLock,
    /// `ARG_PTR_TO_FUNC`
    Func,
    /// `ARG_PTR_TO_STACK | PTR_MAYBE_NULL`
    StackOrNull,
    /// `ARG_PTR_TO_CONST_STR`
    ConstStr,
    /// `ARG_ANYTHING` that is an address: the helper reads what is there, and fails if nothing is (`const void *unsafe_ptr`).
    UnsafePtr,
    /// `ARG_PTR_TO_DYNPTR | MEM_RDONLY`: initialized, of any type.
    Dynptr,
    /// `ARG_PTR_TO_DYNPTR | MEM_UNINIT | MEM_WRITE`: 16 bytes of stack, in which the helper makes one.
    UninitDynptr,
    /// `ARG_PTR_TO_DYNPTR | DYNPTR_TYPE_RINGBUF | OBJ_RELEASE`
    RingbufDynptr,
}

/// What a helper returns: `enum bpf_return_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnType {
    /// `RET_INTEGER`
    Integer,
    /// `RET_VOID`
    Void,
    /// `RET_PTR_TO_MAP_VALUE`
    MapValue,
    /// `RET_PTR_TO_MAP_VALUE_OR_NULL`
    MapValueOrNull,
    /// `RET_PTR_TO_RINGBUF_MEM_OR_NULL`
    RingbufMemOrNull,
    /// `RET_PTR_TO_BTF_ID_TRUSTED`, a `struct task_struct`.
    Task,
    /// `RET_PTR_TO_DYNPTR_MEM_OR_NULL`, as many bytes as the argument of type [`ArgType::ConstAllocSizeOrZero`] says.
    DynptrMemOrNull,
}

macro_rules! helpers {
    // What the words after the release say.
    (@gpl) => { false };
    (@gpl gpl $($rest:ident)*) => { true };
    (@gpl $other:ident $($rest:ident)*) => { helpers!(@gpl $($rest)*) };
    (@perfmon) => { None };
    (@perfmon perfmon $($rest:ident)*) => { Some((5, 8)) };
    (@perfmon perfmon_since_6_16 $($rest:ident)*) => { Some((6, 16)) };
    (@perfmon $other:ident $($rest:ident)*) => { helpers!(@perfmon $($rest)*) };
    (@sleeps) => { false };
    (@sleeps sleeps $($rest:ident)*) => { true };
    (@sleeps $other:ident $($rest:ident)*) => { helpers!(@sleeps $($rest)*) };
    (@proto) => { None };
    (@proto ($($arg:ident),*) $ret:ident) => {
        Some(FuncProto { args: &[$(ArgType::$arg),*], ret: ReturnType::$ret })
    };
    ($(
        $constant:ident = $id:literal $name:literal since $major:literal $minor:literal $($word:ident)*
            $(($($arg:ident),*) -> $ret:ident)?,
    )*) => {
        /// The helpers' numbers.
        pub mod helper_ids {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: u32 = $id;
            )*
        }

        const HELPERS: &[Helper] = &[$(
            Helper {
                id: $id,
                name: $name,
                since: ($major, $minor),
                gpl_only: helpers!(@gpl $($word)*),
                perfmon_since: helpers!(@perfmon $($word)*),
                might_sleep: helpers!(@sleeps $($word)*),
                proto: helpers!(@proto $(($($arg),*) $ret)?),
            },
        )*];
    };
}

helpers! {
    MAP_LOOKUP_ELEM = 1 "bpf_map_lookup_elem" since 5 2 (ConstMapPtr, MapKey) -> MapValueOrNull,
    MAP_UPDATE_ELEM = 2 "bpf_map_update_elem" since 5 2 (ConstMapPtr, MapKey, MapValue, Anything) -> Integer,
    MAP_DELETE_ELEM = 3 "bpf_map_delete_elem" since 5 2 (ConstMapPtr, MapKey) -> Integer,
    KTIME_GET_NS = 5 "bpf_ktime_get_ns" since 5 8 () -> Integer,
    TRACE_PRINTK = 6 "bpf_trace_printk" since 5 2 gpl perfmon (Mem, ConstSize) -> Integer,
    GET_PRANDOM_U32 = 7 "bpf_get_prandom_u32" since 5 8 () -> Integer,
    GET_SMP_PROCESSOR_ID = 8 "bpf_get_smp_processor_id" since 5 8 () -> Integer,
    TAIL_CALL = 12 "bpf_tail_call" since 5 8 (Ctx, ConstMapPtr, Anything) -> Void,
    GET_CURRENT_PID_TGID = 14 "bpf_get_current_pid_tgid" since 6 1 () -> Integer,
    GET_CURRENT_UID_GID = 15 "bpf_get_current_uid_gid" since 5 2 () -> Integer,
    GET_CURRENT_COMM = 16 "bpf_get_current_comm" since 6 1 perfmon_since_6_16 (UninitMem, ConstSize) -> Integer,
    GET_CGROUP_CLASSID = 17 "bpf_get_cgroup_classid" since 6 1 () -> Integer,
    PERF_EVENT_READ = 22 "bpf_perf_event_read" since 6 16 gpl perfmon,
    PERF_EVENT_OUTPUT = 25 "bpf_perf_event_output" since 5 8 gpl (Ctx, ConstMapPtr, Anything, Mem, ConstSizeOrZero) -> Integer,
    GET_CURRENT_TASK = 35 "bpf_get_current_task" since 5 8 gpl perfmon () -> Integer,
    CURRENT_TASK_UNDER_CGROUP = 37 "bpf_current_task_under_cgroup" since 6 12 (ConstMapPtr, Anything) -> Integer,
    GET_NUMA_NODE_ID = 42 "bpf_get_numa_node_id" since 5 8 () -> Integer,
    PERF_EVENT_READ_VALUE = 55 "bpf_perf_event_read_value" since 6 16 gpl perfmon,
    GET_CURRENT_CGROUP_ID = 80 "bpf_get_current_cgroup_id" since 5 2 () -> Integer,
    GET_LOCAL_STORAGE = 81 "bpf_get_local_storage" since 5 2 (ConstMapPtr, Anything) -> MapValue,
    MAP_PUSH_ELEM = 87 "bpf_map_push_elem" since 5 2 (ConstMapPtr, MapValue, Anything) -> Integer,
    MAP_POP_ELEM = 88 "bpf_map_pop_elem" since 5 2 (ConstMapPtr, UninitMapValue) -> Integer,
    MAP_PEEK_ELEM = 89 "bpf_map_peek_elem" since 5 2 (ConstMapPtr, UninitMapValue) -> Integer,
    SPIN_LOCK = 93 "bpf_spin_lock" since 5 8 (SpinLock) -> Void,
    SPIN_UNLOCK = 94 "bpf_spin_unlock" since 5 8 (SpinLock) -> Void,
    SYSCTL_GET_NAME = 101 "bpf_sysctl_get_name" since 5 2 (Ctx, WritableMem, ConstSize, Anything) -> Integer,
    SYSCTL_GET_CURRENT_VALUE = 102 "bpf_sysctl_get_current_value" since 5 2 (Ctx, UninitMem, ConstSize) -> Integer,
    SYSCTL_GET_NEW_VALUE = 103 "bpf_sysctl_get_new_value" since 5 2 (Ctx, UninitMem, ConstSize) -> Integer,
    SYSCTL_SET_NEW_VALUE = 104 "bpf_sysctl_set_new_value" since 5 2 (Ctx, Mem, ConstSize) -> Integer,
    STRTOL = 105 "bpf_strtol" since 5 2 (Mem, ConstSize, Anything, UninitLong) -> Integer,
    STRTOUL = 106 "bpf_strtoul" since 5 2 (Mem, ConstSize, Anything, UninitLong) -> Integer,
    SEND_SIGNAL = 109 "bpf_send_signal" since 6 16 perfmon (Anything) -> Integer,
    PROBE_READ_USER = 112 "bpf_probe_read_user" since 5 8 gpl perfmon (UninitMem, ConstSizeOrZero, UnsafePtr) -> Integer,
    PROBE_READ_KERNEL = 113 "bpf_probe_read_kernel" since 5 8 gpl perfmon (UninitMem, ConstSizeOrZero, UnsafePtr) -> Integer,
    PROBE_READ_USER_STR = 114 "bpf_probe_read_user_str" since 5 8 gpl perfmon (UninitMem, ConstSizeOrZero, UnsafePtr) -> Integer,
    PROBE_READ_KERNEL_STR = 115 "bpf_probe_read_kernel_str" since 5 8 gpl perfmon (UninitMem, ConstSizeOrZero, UnsafePtr) -> Integer,
    SEND_SIGNAL_THREAD = 117 "bpf_send_signal_thread" since 6 16 perfmon (Anything) -> Integer,
    JIFFIES64 = 118 "bpf_jiffies64" since 5 8 () -> Integer,
    GET_NS_CURRENT_PID_TGID = 120 "bpf_get_ns_current_pid_tgid" since 6 10 (Anything, Anything, UninitMem, ConstSize) -> Integer,
    GET_CURRENT_ANCESTOR_CGROUP_ID = 123 "bpf_get_current_ancestor_cgroup_id" since 6 1 (Anything) -> Integer,
    KTIME_GET_BOOT_NS = 125 "bpf_ktime_get_boot_ns" since 5 8 () -> Integer,
    RINGBUF_OUTPUT = 130 "bpf_ringbuf_output" since 5 8 (ConstMapPtr, Mem, ConstSizeOrZero, Anything) -> Integer,
    RINGBUF_RESERVE = 131 "bpf_ringbuf_reserve" since 5 8 (ConstMapPtr, ConstAllocSizeOrZero, Anything) -> RingbufMemOrNull,
    RINGBUF_SUBMIT = 132 "bpf_ringbuf_submit" since 5 8 (RingbufMem, Anything) -> Void,
    RINGBUF_DISCARD = 133 "bpf_ringbuf_discard" since 5 8 (RingbufMem, Anything) -> Void,
    RINGBUF_QUERY = 134 "bpf_ringbuf_query" since 5 8 (ConstMapPtr, Anything) -> Integer,
    GET_TASK_STACK = 141 "bpf_get_task_stack" since 6 16 perfmon,
    COPY_FROM_USER = 148 "bpf_copy_from_user" since 6 16 perfmon sleeps,
    SNPRINTF_BTF = 149 "bpf_snprintf_btf" since 5 10 perfmon,
    PER_CPU_PTR = 153 "bpf_per_cpu_ptr" since 5 10,
    THIS_CPU_PTR = 154 "bpf_this_cpu_ptr" since 5 10,
    TASK_STORAGE_GET = 156 "bpf_task_storage_get" since 6 16,
    TASK_STORAGE_DELETE = 157 "bpf_task_storage_delete" since 6 16,
    GET_CURRENT_TASK_BTF = 158 "bpf_get_current_task_btf" since 5 15 gpl perfmon () -> Task,
    KTIME_GET_COARSE_NS = 160 "bpf_ktime_get_coarse_ns" since 5 11 () -> Integer,
    FOR_EACH_MAP_ELEM = 164 "bpf_for_each_map_elem" since 5 13 (ConstMapPtr, Func, StackOrNull, Anything) -> Integer,
    SNPRINTF = 165 "bpf_snprintf" since 5 13 gpl perfmon (WritableMemOrNull, ConstSizeOrZero, ConstStr, MemOrNull, ConstSizeOrZero) -> Integer,
    TIMER_INIT = 169 "bpf_timer_init" since 5 15 gpl,
    TIMER_SET_CALLBACK = 170 "bpf_timer_set_callback" since 5 15 gpl,
    TIMER_START = 171 "bpf_timer_start" since 5 15 gpl,
    TIMER_CANCEL = 172 "bpf_timer_cancel" since 5 15 gpl,
    TASK_PT_REGS = 175 "bpf_task_pt_regs" since 5 15 gpl perfmon,
    GET_BRANCH_SNAPSHOT = 176 "bpf_get_branch_snapshot" since 6 16 gpl perfmon,
    TRACE_VPRINTK = 177 "bpf_trace_vprintk" since 5 16 gpl perfmon (Mem, ConstSize, MemOrNull, ConstSizeOrZero) -> Integer,
    FIND_VMA = 180 "bpf_find_vma" since 6 16 perfmon,
    LOOP = 181 "bpf_loop" since 5 17 (Anything, Func, StackOrNull, Anything) -> Integer,
    STRNCMP = 182 "bpf_strncmp" since 5 17 (Mem, ConstSize, ConstStr) -> Integer,
    GET_RETVAL = 186 "bpf_get_retval" since 5 18 () -> Integer,
    SET_RETVAL = 187 "bpf_set_retval" since 5 18 (Anything) -> Integer,
    COPY_FROM_USER_TASK = 191 "bpf_copy_from_user_task" since 6 16 gpl perfmon sleeps,
    KPTR_XCHG = 194 "bpf_kptr_xchg" since 5 19,
    MAP_LOOKUP_PERCPU_ELEM = 195 "bpf_map_lookup_percpu_elem" since 5 19 (ConstMapPtr, MapKey, Anything) -> MapValueOrNull,
    DYNPTR_FROM_MEM = 197 "bpf_dynptr_from_mem" since 5 19 (UninitMem, ConstSizeOrZero, Anything, UninitDynptr) -> Integer,
    RINGBUF_RESERVE_DYNPTR = 198 "bpf_ringbuf_reserve_dynptr" since 5 19 (ConstMapPtr, Anything, Anything, UninitDynptr) -> Integer,
    RINGBUF_SUBMIT_DYNPTR = 199 "bpf_ringbuf_submit_dynptr" since 5 19 (RingbufDynptr, Anything) -> Void,
    RINGBUF_DISCARD_DYNPTR = 200 "bpf_ringbuf_discard_dynptr" since 5 19 (RingbufDynptr, Anything) -> Void,
    DYNPTR_READ = 201 "bpf_dynptr_read" since 5 19 (UninitMem, ConstSizeOrZero, Dynptr, Anything, Anything) -> Integer,
    DYNPTR_WRITE = 202 "bpf_dynptr_write" since 5 19 (Dynptr, Anything, Mem, ConstSizeOrZero, Anything) -> Integer,
    DYNPTR_DATA = 203 "bpf_dynptr_data" since 5 19 (Dynptr, Anything, ConstAllocSizeOrZero) -> DynptrMemOrNull,
    KTIME_GET_TAI_NS = 208 "bpf_ktime_get_tai_ns" since 6 1 () -> Integer,
    USER_RINGBUF_DRAIN = 209 "bpf_user_ringbuf_drain" since 6 1,
    CGRP_STORAGE_GET = 210 "bpf_cgrp_storage_get" since 6 2,
    CGRP_STORAGE_DELETE = 211 "bpf_cgrp_storage_delete" since 6 2,
}

impl Helper {
    /// All helpers, by ascending number.
    pub const ALL: &[Self] = HELPERS;

    /// The helper of this number.
    pub fn find(id: u32) -> Option<&'static Self> {
        let index = Self::ALL.binary_search_by_key(&id, |helper| helper.id).ok()?;
        Some(&Self::ALL[index])
    }

    /// The types of its arguments; none of a helper without a prototype.
    pub fn args(&self) -> &'static [ArgType] {
        self.proto.as_ref().map_or(&[], |proto| proto.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_have_the_names_that_the_kernel_gives_them() {
        let name = |id| Helper::find(id).map(|helper| helper.name);
        assert_eq!(name(helper_ids::SYSCTL_GET_NAME), Some("bpf_sysctl_get_name"));
        assert_eq!(name(helper_ids::SET_RETVAL), Some("bpf_set_retval"));
        assert_eq!(name(0), None);
        assert!(Helper::ALL.is_sorted_by(|a, b| a.id < b.id));
    }

    #[test]
    fn a_size_comes_after_its_memory() {
        use ArgType::{
            ConstSize, ConstSizeOrZero, Mem, MemOrNull, UninitMem, WritableMem, WritableMemOrNull,
        };
        for helper in Helper::ALL {
            let args = helper.args();
            for (index, arg) in args.iter().enumerate() {
                let is_memory = matches!(arg, Mem | MemOrNull | WritableMem | UninitMem | WritableMemOrNull);
                let next_is_size = matches!(args.get(index + 1), Some(ConstSize | ConstSizeOrZero));
                assert_eq!(is_memory, next_is_size, "{} r{}", helper.name, index + 1);
            }
        }
    }
}
