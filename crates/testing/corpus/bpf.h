/*
 * What the programs here use of the kernel's interface, so that they compile with nothing but a compiler. Sources:
 * include/uapi/linux/bpf.h, and for the macros libbpf's section and attribute conventions.
 */
#pragma once

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)

struct bpf_sysctl {
	__u32 write;
	__u32 file_pos;
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_CGROUP_ARRAY = 8,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_HASH_OF_MAPS = 13,
	BPF_MAP_TYPE_CGROUP_STORAGE = 19,
	BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21,
	BPF_MAP_TYPE_QUEUE = 22,
	BPF_MAP_TYPE_STACK = 23,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_MAP_TYPE_BLOOM_FILTER = 30,
	BPF_MAP_TYPE_USER_RINGBUF = 31,
	BPF_MAP_TYPE_CGRP_STORAGE = 32,
	BPF_MAP_TYPE_ARENA = 33,
	BPF_MAP_TYPE_RHASH = 35,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
	BPF_F_LOCK = 4,
};

#define BPF_F_NO_PREALLOC 1
#define BPF_F_MMAPABLE (1 << 10)
#define BPF_F_RDONLY_PROG (1 << 7)
#define BPF_F_SYSCTL_BASE_NAME 1
#define BPF_F_CURRENT_CPU 0xffffffffULL
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_AVAIL_DATA 0
#define BPF_RB_RING_SIZE 1
#define BPF_LOCAL_STORAGE_GET_F_CREATE 1

#define LIBBPF_PIN_BY_NAME 1

#define EPERM 1
#define ENOENT 2
#define E2BIG 7
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define ERANGE 34

struct bpf_spin_lock {
	__u32 val;
};

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_wq {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_head {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_node {
	__u64 opaque[3];
} __attribute__((aligned(8)));

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_pidns_info {
	__u32 pid;
	__u32 tgid;
};

#define SEC(name) __attribute__((section(name), used))
#define NOINLINE __attribute__((noinline))
#define INLINE inline __attribute__((always_inline))
#define HIDDEN __attribute__((visibility("hidden")))
#define WEAK __attribute__((weak))
#define KCONFIG __attribute__((section(".kconfig")))
#define KSYM __attribute__((section(".ksyms")))

/* An attribute of a map in `.maps`, which is in the type alone. */
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

/* Keeps the compiler from knowing the value of a variable. */
#define opaque(variable) asm volatile("" : "+r"(variable))

#define LICENSE(name) char _license[] SEC("license") = name

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_trace_printk)(const char *fmt, __u32 fmt_size, ...) = (void *)6;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static long (*const bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *buf, __u32 size) = (void *)16;
static long (*const bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data, __u64 size) = (void *)25;
static __u64 (*const bpf_get_current_task)(void) = (void *)35;
static long (*const bpf_current_task_under_cgroup)(void *map, __u32 index) = (void *)37;
static long (*const bpf_get_numa_node_id)(void) = (void *)42;
static __u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static void *(*const bpf_get_local_storage)(void *map, __u64 flags) = (void *)81;
static long (*const bpf_map_push_elem)(void *map, const void *value, __u64 flags) = (void *)87;
static long (*const bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static long (*const bpf_map_peek_elem)(void *map, void *value) = (void *)89;
static long (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static long (*const bpf_sysctl_get_name)(struct bpf_sysctl *ctx, char *buf, __u64 len, __u64 flags) = (void *)101;
static long (*const bpf_sysctl_get_current_value)(struct bpf_sysctl *ctx, char *buf, __u64 len) = (void *)102;
static long (*const bpf_sysctl_get_new_value)(struct bpf_sysctl *ctx, char *buf, __u64 len) = (void *)103;
static long (*const bpf_sysctl_set_new_value)(struct bpf_sysctl *ctx, const char *buf, __u64 len) = (void *)104;
static long (*const bpf_strtol)(const char *buf, __u64 len, __u64 flags, long *res) = (void *)105;
static long (*const bpf_strtoul)(const char *buf, __u64 len, __u64 flags, unsigned long *res) = (void *)106;
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *src) = (void *)113;
static long (*const bpf_probe_read_kernel_str)(void *dst, __u32 size, const void *src) = (void *)115;
static __u64 (*const bpf_jiffies64)(void) = (void *)118;
static long (*const bpf_get_ns_current_pid_tgid)(__u64 dev, __u64 ino, struct bpf_pidns_info *info, __u32 size) = (void *)120;
static __u64 (*const bpf_get_current_ancestor_cgroup_id)(int level) = (void *)123;
static __u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*const bpf_ringbuf_output)(void *map, void *data, __u64 size, __u64 flags) = (void *)130;
static void *(*const bpf_ringbuf_reserve)(void *map, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
static __u64 (*const bpf_ringbuf_query)(void *map, __u64 flags) = (void *)134;
static void *(*const bpf_per_cpu_ptr)(const void *percpu, __u32 cpu) = (void *)153;
static void *(*const bpf_this_cpu_ptr)(const void *percpu) = (void *)154;
static void *(*const bpf_task_storage_get)(void *map, void *task, void *value, __u64 flags) = (void *)156;
static long (*const bpf_task_storage_delete)(void *map, void *task) = (void *)157;
static void *(*const bpf_get_current_task_btf)(void) = (void *)158;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)160;
static long (*const bpf_for_each_map_elem)(void *map, void *callback, void *callback_ctx, __u64 flags) = (void *)164;
static long (*const bpf_snprintf)(char *str, __u32 size, const char *fmt, __u64 *data, __u32 data_len) = (void *)165;
static long (*const bpf_timer_init)(struct bpf_timer *timer, void *map, __u64 flags) = (void *)169;
static long (*const bpf_timer_set_callback)(struct bpf_timer *timer, void *callback) = (void *)170;
static long (*const bpf_timer_start)(struct bpf_timer *timer, __u64 nsecs, __u64 flags) = (void *)171;
static long (*const bpf_timer_cancel)(struct bpf_timer *timer) = (void *)172;
static long (*const bpf_trace_vprintk)(const char *fmt, __u32 fmt_size, const void *data, __u32 data_len) = (void *)177;
static long (*const bpf_loop)(__u32 iterations, void *callback, void *callback_ctx, __u64 flags) = (void *)181;
static long (*const bpf_strncmp)(const char *s1, __u32 s1_len, const char *s2) = (void *)182;
static int (*const bpf_get_retval)(void) = (void *)186;
static int (*const bpf_set_retval)(int retval) = (void *)187;
static void *(*const bpf_kptr_xchg)(void *kptr, void *ptr) = (void *)194;
static void *(*const bpf_map_lookup_percpu_elem)(void *map, const void *key, __u32 cpu) = (void *)195;
static long (*const bpf_dynptr_from_mem)(void *data, __u64 size, __u64 flags, struct bpf_dynptr *ptr) = (void *)197;
static long (*const bpf_ringbuf_reserve_dynptr)(void *map, __u32 size, __u64 flags, struct bpf_dynptr *ptr) = (void *)198;
static void (*const bpf_ringbuf_submit_dynptr)(struct bpf_dynptr *ptr, __u64 flags) = (void *)199;
static void (*const bpf_ringbuf_discard_dynptr)(struct bpf_dynptr *ptr, __u64 flags) = (void *)200;
static long (*const bpf_dynptr_read)(void *dst, __u64 len, const struct bpf_dynptr *src, __u64 offset, __u64 flags) = (void *)201;
static long (*const bpf_dynptr_write)(const struct bpf_dynptr *dst, __u64 offset, void *src, __u64 len, __u64 flags) = (void *)202;
static void *(*const bpf_dynptr_data)(const struct bpf_dynptr *ptr, __u64 offset, __u64 len) = (void *)203;
static __u64 (*const bpf_ktime_get_tai_ns)(void) = (void *)208;
static long (*const bpf_user_ringbuf_drain)(void *map, void *callback, void *ctx, __u64 flags) = (void *)209;
static void *(*const bpf_cgrp_storage_get)(void *map, void *cgroup, void *value, __u64 flags) = (void *)210;
static long (*const bpf_cgrp_storage_delete)(void *map, void *cgroup) = (void *)211;
