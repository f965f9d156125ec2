/*
 * Maps in maps: counters for each kind of access in an array of maps, and for some names in a hash of maps; and a ring buffer in
 * an array of maps. User space can exchange them while the program runs.
 */
#include "hook.h"

struct counters {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} reads SEC(".maps"), writes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct counters);
} by_kind SEC(".maps") = {
	.values = { [0] = &reads, [1] = &writes },
};

struct names {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, char[32]);
	__type(value, __u64);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct names);
} by_length SEC(".maps") = {
	.values = { [1] = &names },
};

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps") = {
	.values = { &ring },
};

__u32 missing, sent;

static void count(void *map, void *key)
{
	__u64 one = 1, *count = bpf_map_lookup_elem(map, key);

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(map, key, &one, 0);
}

SEC("cgroup/sysctl")
int nested(struct bpf_sysctl *ctx)
{
	__u32 kind = ctx->write, zero = 0, one = 1, three = 3;
	char name[32] = {};
	__u32 *record;
	void *map;

	bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	map = bpf_map_lookup_elem(&by_kind, &kind);
	if (map)
		count(map, &one);
	map = bpf_map_lookup_elem(&by_length, &kind);
	if (map)
		count(map, name);
	if (!bpf_map_lookup_elem(&by_kind, &three))
		missing++;
	map = bpf_map_lookup_elem(&rings, &zero);
	if (!map)
		return 0;
	record = bpf_ringbuf_reserve(map, sizeof(*record), 0);
	if (record) {
		*record = kind;
		bpf_ringbuf_submit(record, 0);
		sent++;
	}
	return 1;
}

char _license[] SEC("license") = "GPL";
