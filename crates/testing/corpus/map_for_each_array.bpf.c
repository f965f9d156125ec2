// `bpf_for_each_map_elem` over an array, in the order of its indexes.
// READ kernel/domainname => *
// VARIABLE order = 123
// SINCE 5.13
#include "bpf.h"

__u64 order;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} digits SEC(".maps");

static long append(void *map, const __u32 *key, __u32 *value, __u64 *number)
{
	*number = *number * 10 + *key + 1;
	*value = *key;
	return 0;
}

SEC("cgroup/sysctl")
int map_for_each_array(struct bpf_sysctl *ctx)
{
	__u64 number = 0;

	bpf_for_each_map_elem(&digits, append, &number, 0);
	order = number;
	return 1;
}

LICENSE("GPL");
