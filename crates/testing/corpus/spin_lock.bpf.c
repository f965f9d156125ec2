// A spin lock around two members of a value.
// READ kernel/domainname => *
// VARIABLE seen = {1, 2}
#include "bpf.h"

__u64 seen[2];

struct counters {
	struct bpf_spin_lock lock;
	__u64 first, second;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

SEC("cgroup/sysctl")
int spin_lock(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;
	struct counters *both = bpf_map_lookup_elem(&counters, &zero);

	if (!both)
		return 0;
	bpf_spin_lock(&both->lock);
	both->first += 1;
	both->second += 2;
	bpf_spin_unlock(&both->lock);
	seen[0] = both->first;
	seen[1] = both->second;
	return 1;
}

LICENSE("GPL");
