// A hash table whose entries are allocated when they are made.
// READ kernel/domainname => *
// ENTRIES on_demand = 1
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} on_demand SEC(".maps");

SEC("cgroup/sysctl")
int map_hash_without_preallocation(struct bpf_sysctl *ctx)
{
	__u64 key = 5, value = 6;

	return !bpf_map_update_elem(&on_demand, &key, &value, BPF_ANY);
}

LICENSE("GPL");
