// An array of maps with one inner map, which the object makes.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE counts = {2, 0}
#include "bpf.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first } };

__u64 counts[2];

SEC("cgroup/sysctl")
int map_array_of_maps(struct bpf_sysctl *ctx)
{
	for (__u32 index = 0; index < 2; index++) {
		__u32 key = index, zero = 0;
		void *inner = bpf_map_lookup_elem(&outer, &key);
		__u64 *count;

		if (!inner)
			continue;
		count = bpf_map_lookup_elem(inner, &zero);
		if (count)
			counts[index & 1] = ++*count;
	}
	return 1;
}

LICENSE("GPL");
