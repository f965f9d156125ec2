// The same with a value for each CPU.
// READ kernel/domainname => *
// VARIABLE found = 5
#include "bpf.h"

__u32 found;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} recent SEC(".maps");

SEC("cgroup/sysctl")
int map_lru_percpu_hash(struct bpf_sysctl *ctx)
{
	__u32 key = 1, value = 5, *entry;

	bpf_map_update_elem(&recent, &key, &value, BPF_ANY);
	entry = bpf_map_lookup_elem(&recent, &key);
	if (entry)
		found = *entry;
	return 1;
}

LICENSE("GPL");
