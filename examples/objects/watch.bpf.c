/*
 * Counts accesses by name, reports writes through a ring buffer, and allows each knob only so many writes.
 */
#include "hook.h"

struct name {
	char bytes[64];
};

struct event {
	__u64 accesses;
	struct name name;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct name);
	__type(value, __u64);
} writes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64[2][2]);
} totals SEC(".maps");

const volatile __u64 most = 2;
__u64 unread;

static long add(void *map, const struct name *name, const __u64 *count, __u64 *sum)
{
	*sum += *count;
	return 0;
}

SEC("cgroup/sysctl")
int watch(struct bpf_sysctl *ctx)
{
	struct name name = {};
	__u64 one = 1, sum = 0, *count, (*total)[2][2];
	struct event *event;
	__u32 kind = ctx->write;

	total = bpf_map_lookup_elem(&totals, &kind);
	if (total)
		__sync_fetch_and_add(&(*total)[1][1], 1);
	if (!ctx->write)
		return 1;
	if (bpf_sysctl_get_name(ctx, name.bytes, sizeof(name.bytes), 0) < 0)
		return 0;
	count = bpf_map_lookup_elem(&writes, &name);
	if (count)
		__sync_fetch_and_add(count, 1);
	else if (bpf_map_update_elem(&writes, &name, &one, 1))
		return 0;
	bpf_for_each_map_elem(&writes, add, &sum, 0);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		event->accesses = sum;
		event->name = name;
		bpf_ringbuf_submit(event, 0);
	}
	unread = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	return !count || *count <= most;
}

char _license[] SEC("license") = "GPL";
