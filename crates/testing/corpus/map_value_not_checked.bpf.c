// A value that is used without a check for NULL.
// KERNEL rejects "invalid mem access 'map_value_or_null'"
// MODEL rejects "invalid mem access 'map_value_or_null'"
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

SEC("cgroup/sysctl")
int map_value_not_checked(struct bpf_sysctl *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&values, &key);

	return *value & 1;
}

LICENSE("GPL");
