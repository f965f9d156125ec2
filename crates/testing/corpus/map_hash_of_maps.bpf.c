// A hash of maps with one inner map, which the object makes.
// READ kernel/domainname => *
// VARIABLE found = 1
// VARIABLE missing = 1
#include "bpf.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first } };

__u32 found, missing;

SEC("cgroup/sysctl")
int map_hash_of_maps(struct bpf_sysctl *ctx)
{
	__u32 zero = 0, seven = 7, value = 1, *entry;
	void *inner = bpf_map_lookup_elem(&outer, &zero);

	if (inner) {
		bpf_map_update_elem(inner, &seven, &value, BPF_ANY);
		entry = bpf_map_lookup_elem(inner, &seven);
		if (entry)
			found = *entry;
	}
	if (!bpf_map_lookup_elem(&outer, &seven))
		missing++;
	return 1;
}

LICENSE("GPL");
