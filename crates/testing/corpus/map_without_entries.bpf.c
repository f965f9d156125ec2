// A table that no kernel makes: it has no room for any entry.
// KERNEL rejects "EINVAL"
// MODEL rejects "EINVAL"
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, __u32);
} empty SEC(".maps");

SEC("cgroup/sysctl")
int map_without_entries(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;

	return !bpf_map_lookup_elem(&empty, &zero);
}

LICENSE("GPL");
