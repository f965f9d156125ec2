// A trie has no elements to call a function for. The error is one that only the kernel has a name for: ENOTSUPP.
// KERNEL rejects "524"
// MODEL rejects "524"
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} trie SEC(".maps");

static long visit(void *map, const void *key, void *value, void *context)
{
	return 0;
}

SEC("cgroup/sysctl")
int map_for_each_without(struct bpf_sysctl *ctx)
{
	bpf_for_each_map_elem(&trie, visit, 0, 0);
	return 1;
}

LICENSE("GPL");
