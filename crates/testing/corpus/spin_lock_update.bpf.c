// An update of a value under its lock, by the flag BPF_F_LOCK.
// READ kernel/domainname => *
// VARIABLE result = 0
// VARIABLE seen = 7
#include "bpf.h"

long result = -1;
__u64 seen;

struct counter {
	struct bpf_spin_lock lock;
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

SEC("cgroup/sysctl")
int spin_lock_update(struct bpf_sysctl *ctx)
{
	struct counter seven = { .count = 7 }, *counter;
	__u32 zero = 0;

	result = bpf_map_update_elem(&counters, &zero, &seven, BPF_F_LOCK);
	counter = bpf_map_lookup_elem(&counters, &zero);
	if (counter)
		seen = counter->count;
	return 1;
}

LICENSE("GPL");
