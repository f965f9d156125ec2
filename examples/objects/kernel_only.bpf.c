/*
 * What only the kernel has: storage of tasks, timers, and Bloom filters. Each program says whether it worked.
 */
#include "hook.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} tasks SEC(".maps");

struct timed {
	struct bpf_timer timer;
	__u64 rings;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct timed);
} timers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 64);
	__uint(map_extra, 3);
	__type(value, __u32);
} filter SEC(".maps");

/* The third write of a task is denied. */
SEC("cgroup/sysctl")
int task_storage(struct bpf_sysctl *ctx)
{
	__u64 *writes = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!writes)
		return 0;
	*writes += ctx->write;
	return *writes < 3;
}

static int ring(void *map, __u32 *key, struct timed *timed)
{
	timed->rings++;
	return 0;
}

/* Writes are allowed if there is a timer. */
SEC("cgroup/sysctl")
int timer(struct bpf_sysctl *ctx)
{
	__u32 key = 0;
	struct timed *timed = bpf_map_lookup_elem(&timers, &key);

	if (!timed)
		return 0;
	/* CLOCK_MONOTONIC; it is there already the second time. */
	bpf_timer_init(&timed->timer, &timers, 1);
	return !bpf_timer_set_callback(&timed->timer, ring) && !bpf_timer_start(&timed->timer, 1000, 0);
}

/* Not on the stack: Linux 7.3.4 takes what only bpf_map_peek_elem reads there for dead. */
__u32 kind;

/* The first write is denied, because nobody has seen one before. */
SEC("cgroup/sysctl")
int bloom_filter(struct bpf_sysctl *ctx)
{
	kind = ctx->write;
	if (!kind || !bpf_map_peek_elem(&filter, &kind))
		return 1;
	bpf_map_push_elem(&filter, &kind, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
