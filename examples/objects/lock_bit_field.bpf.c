/*
 * A bit-field next to a lock: since 6.11 the kernel rejects all types of such an object, and from 6.2 on the value has no lock.
 */
#include "hook.h"

struct value {
	struct bpf_spin_lock lock;
	unsigned int low : 3;
	unsigned int high : 5;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct value);
} values SEC(".maps");

SEC("cgroup/sysctl")
int lock_bit_field(struct bpf_sysctl *ctx)
{
	__u32 key = 0;

	bpf_map_lookup_elem(&values, &key);
	return 1;
}

char _license[] SEC("license") = "GPL";
