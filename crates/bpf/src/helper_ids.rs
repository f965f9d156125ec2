//! The helpers that Linux accepts in programs of this hook, by number: `enum bpf_func_id` in
//! `include/uapi/linux/bpf.h`.
//!
//! The numbers are those of 6.18; older kernels have fewer of them.

macro_rules! helpers {
    ($($constant:ident = $id:literal $name:literal,)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: u32 = $id;
        )*

        const NAMES: &[(u32, &str)] = &[$(($id, $name)),*];
    };
}

helpers! {
    MAP_LOOKUP_ELEM = 1 "bpf_map_lookup_elem",
    MAP_UPDATE_ELEM = 2 "bpf_map_update_elem",
    MAP_DELETE_ELEM = 3 "bpf_map_delete_elem",
    KTIME_GET_NS = 5 "bpf_ktime_get_ns",
    TRACE_PRINTK = 6 "bpf_trace_printk",
    GET_PRANDOM_U32 = 7 "bpf_get_prandom_u32",
    GET_SMP_PROCESSOR_ID = 8 "bpf_get_smp_processor_id",
    TAIL_CALL = 12 "bpf_tail_call",
    GET_CURRENT_PID_TGID = 14 "bpf_get_current_pid_tgid",
    GET_CURRENT_UID_GID = 15 "bpf_get_current_uid_gid",
    GET_CURRENT_COMM = 16 "bpf_get_current_comm",
    GET_CGROUP_CLASSID = 17 "bpf_get_cgroup_classid",
    PERF_EVENT_READ = 22 "bpf_perf_event_read",
    PERF_EVENT_OUTPUT = 25 "bpf_perf_event_output",
    GET_CURRENT_TASK = 35 "bpf_get_current_task",
    CURRENT_TASK_UNDER_CGROUP = 37 "bpf_current_task_under_cgroup",
    GET_NUMA_NODE_ID = 42 "bpf_get_numa_node_id",
    PERF_EVENT_READ_VALUE = 55 "bpf_perf_event_read_value",
    GET_CURRENT_CGROUP_ID = 80 "bpf_get_current_cgroup_id",
    GET_LOCAL_STORAGE = 81 "bpf_get_local_storage",
    MAP_PUSH_ELEM = 87 "bpf_map_push_elem",
    MAP_POP_ELEM = 88 "bpf_map_pop_elem",
    MAP_PEEK_ELEM = 89 "bpf_map_peek_elem",
    SPIN_LOCK = 93 "bpf_spin_lock",
    SPIN_UNLOCK = 94 "bpf_spin_unlock",
    SYSCTL_GET_NAME = 101 "bpf_sysctl_get_name",
    SYSCTL_GET_CURRENT_VALUE = 102 "bpf_sysctl_get_current_value",
    SYSCTL_GET_NEW_VALUE = 103 "bpf_sysctl_get_new_value",
    SYSCTL_SET_NEW_VALUE = 104 "bpf_sysctl_set_new_value",
    STRTOL = 105 "bpf_strtol",
    STRTOUL = 106 "bpf_strtoul",
    SEND_SIGNAL = 109 "bpf_send_signal",
    PROBE_READ_USER = 112 "bpf_probe_read_user",
    PROBE_READ_KERNEL = 113 "bpf_probe_read_kernel",
    PROBE_READ_USER_STR = 114 "bpf_probe_read_user_str",
    PROBE_READ_KERNEL_STR = 115 "bpf_probe_read_kernel_str",
    SEND_SIGNAL_THREAD = 117 "bpf_send_signal_thread",
    JIFFIES64 = 118 "bpf_jiffies64",
    GET_NS_CURRENT_PID_TGID = 120 "bpf_get_ns_current_pid_tgid",
    GET_CURRENT_ANCESTOR_CGROUP_ID = 123 "bpf_get_current_ancestor_cgroup_id",
    KTIME_GET_BOOT_NS = 125 "bpf_ktime_get_boot_ns",
    RINGBUF_OUTPUT = 130 "bpf_ringbuf_output",
    RINGBUF_RESERVE = 131 "bpf_ringbuf_reserve",
    RINGBUF_SUBMIT = 132 "bpf_ringbuf_submit",
    RINGBUF_DISCARD = 133 "bpf_ringbuf_discard",
    RINGBUF_QUERY = 134 "bpf_ringbuf_query",
    GET_TASK_STACK = 141 "bpf_get_task_stack",
    COPY_FROM_USER = 148 "bpf_copy_from_user",
    SNPRINTF_BTF = 149 "bpf_snprintf_btf",
    PER_CPU_PTR = 153 "bpf_per_cpu_ptr",
    THIS_CPU_PTR = 154 "bpf_this_cpu_ptr",
    TASK_STORAGE_GET = 156 "bpf_task_storage_get",
    TASK_STORAGE_DELETE = 157 "bpf_task_storage_delete",
    GET_CURRENT_TASK_BTF = 158 "bpf_get_current_task_btf",
    KTIME_GET_COARSE_NS = 160 "bpf_ktime_get_coarse_ns",
    FOR_EACH_MAP_ELEM = 164 "bpf_for_each_map_elem",
    SNPRINTF = 165 "bpf_snprintf",
    TIMER_INIT = 169 "bpf_timer_init",
    TIMER_SET_CALLBACK = 170 "bpf_timer_set_callback",
    TIMER_START = 171 "bpf_timer_start",
    TIMER_CANCEL = 172 "bpf_timer_cancel",
    TASK_PT_REGS = 175 "bpf_task_pt_regs",
    GET_BRANCH_SNAPSHOT = 176 "bpf_get_branch_snapshot",
    TRACE_VPRINTK = 177 "bpf_trace_vprintk",
    FIND_VMA = 180 "bpf_find_vma",
    LOOP = 181 "bpf_loop",
    STRNCMP = 182 "bpf_strncmp",
    GET_RETVAL = 186 "bpf_get_retval",
    SET_RETVAL = 187 "bpf_set_retval",
    COPY_FROM_USER_TASK = 191 "bpf_copy_from_user_task",
    KPTR_XCHG = 194 "bpf_kptr_xchg",
    MAP_LOOKUP_PERCPU_ELEM = 195 "bpf_map_lookup_percpu_elem",
    DYNPTR_FROM_MEM = 197 "bpf_dynptr_from_mem",
    RINGBUF_RESERVE_DYNPTR = 198 "bpf_ringbuf_reserve_dynptr",
    RINGBUF_SUBMIT_DYNPTR = 199 "bpf_ringbuf_submit_dynptr",
    RINGBUF_DISCARD_DYNPTR = 200 "bpf_ringbuf_discard_dynptr",
    DYNPTR_READ = 201 "bpf_dynptr_read",
    DYNPTR_WRITE = 202 "bpf_dynptr_write",
    DYNPTR_DATA = 203 "bpf_dynptr_data",
    KTIME_GET_TAI_NS = 208 "bpf_ktime_get_tai_ns",
    USER_RINGBUF_DRAIN = 209 "bpf_user_ringbuf_drain",
    CGRP_STORAGE_GET = 210 "bpf_cgrp_storage_get",
    CGRP_STORAGE_DELETE = 211 "bpf_cgrp_storage_delete",
}

/// What the kernel calls a helper.
pub fn name(id: u32) -> Option<&'static str> {
    let index = NAMES.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(NAMES[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_have_the_names_that_the_kernel_gives_them() {
        assert_eq!(name(SYSCTL_GET_NAME), Some("bpf_sysctl_get_name"));
        assert_eq!(name(SET_RETVAL), Some("bpf_set_retval"));
        assert_eq!(name(0), None);
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
