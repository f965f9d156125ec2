/*
 * Spin locks in the values of maps, and updates that take them. Each counter is two numbers that always agree.
 */
#include "hook.h"

struct counter {
	__u64 count;
	struct bpf_spin_lock lock;
	__u32 kind;
	__u64 again;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct counter);
} by_kind SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} without_lock SEC(".maps");

long updated, created, of_missing, of_existing, of_flags, of_index, of_unlocked;

static void count(struct counter *counter)
{
	bpf_spin_lock(&counter->lock);
	counter->count++;
	counter->again = counter->count;
	bpf_spin_unlock(&counter->lock);
}

SEC("cgroup/sysctl")
int locks(struct bpf_sysctl *ctx)
{
	struct counter seven = { .count = 7, .kind = 1, .again = 7 }, *counter;
	__u32 kind = ctx->write, missing = 9;
	__u64 zero = 0;

	counter = bpf_map_lookup_elem(&counters, &kind);
	if (!counter)
		return 0;
	count(counter);
	if (!kind)
		return 1;
	/* Locked updates leave the lock alone, and need one. */
	updated = bpf_map_update_elem(&counters, &kind, &seven, BPF_F_LOCK);
	created = bpf_map_update_elem(&by_kind, &kind, &seven, BPF_F_LOCK);
	of_missing = bpf_map_update_elem(&by_kind, &missing, &seven, 2 | BPF_F_LOCK);
	of_existing = bpf_map_update_elem(&by_kind, &kind, &seven, 1 | BPF_F_LOCK);
	of_flags = bpf_map_update_elem(&by_kind, &kind, &seven, 3);
	of_index = bpf_map_update_elem(&counters, &missing, &seven, BPF_F_LOCK);
	of_unlocked = bpf_map_update_elem(&without_lock, &(__u32){ 0 }, &zero, BPF_F_LOCK);
	counter = bpf_map_lookup_elem(&by_kind, &kind);
	if (counter)
		count(counter);
	return 1;
}

char _license[] SEC("license") = "GPL";
