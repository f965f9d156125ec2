// A map that is pinned by its name, so that objects can share it.
// READ kernel/domainname => *
// ENTRIES knobgate_test_pinned = 1
// VARIABLE count = 1
#include "bpf.h"

__u64 count;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} knobgate_test_pinned SEC(".maps");

SEC("cgroup/sysctl")
int map_pinned(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&knobgate_test_pinned, &zero);

	if (value)
		count = ++*value;
	return 1;
}

LICENSE("GPL");
