// A hash table with a value for each CPU.
// READ kernel/domainname => *
// READ kernel/domainname => *
// ENTRIES counts = 1
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

SEC("cgroup/sysctl")
int map_percpu_hash(struct bpf_sysctl *ctx)
{
	__u32 key = 9, one = 1, *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_NOEXIST);
	return 1;
}

LICENSE("GPL");
