/*
 * The less common kinds of maps: a trie of names, where the longest prefix decides; a queue that remembers the last
 * writes, and a stack; counters for each CPU; and perf events.
 */
#include "hook.h"

struct prefix {
	__u32 bits;
	char name[28];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 3);
	__uint(value_size, 8);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} by_kind SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

__u64 popped, pushed, failed;

SEC("cgroup/sysctl")
int kinds(struct bpf_sysctl *ctx)
{
	struct prefix key = { .bits = sizeof(key.name) * 8 };
	__u32 kind = ctx->write, *verdict;
	__u64 zero = 0, *count;

	if (!bpf_map_lookup_elem(&by_kind, &kind))
		bpf_map_update_elem(&by_kind, &kind, &zero, 0);
	count = bpf_map_lookup_elem(&by_kind, &kind);
	if (count)
		*count += 1;
	bpf_sysctl_get_name(ctx, key.name, sizeof(key.name), 0);
	if (kind) {
		pushed++;
		if (bpf_map_push_elem(&queue, &pushed, 0) && !bpf_map_pop_elem(&queue, &popped))
			bpf_map_push_elem(&queue, &pushed, 0);
		if (bpf_map_push_elem(&stack, &pushed, 0))
			failed++;
	}
	/* Nobody listens, which is no reason to deny. */
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &key, sizeof(key));
	verdict = bpf_map_lookup_elem(&verdicts, &key);
	return !verdict || *verdict;
}

char _license[] SEC("license") = "GPL";
