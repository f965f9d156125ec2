/*
 * Two locks in one struct: the kernel rejects all types of such an object.
 */
#include "hook.h"

struct value {
	int number;
	struct bpf_spin_lock first, second;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct value);
} values SEC(".maps");

SEC("cgroup/sysctl")
int lock_twice(struct bpf_sysctl *ctx)
{
	__u32 key = 0;

	bpf_map_lookup_elem(&values, &key);
	return 1;
}

char _license[] SEC("license") = "GPL";
