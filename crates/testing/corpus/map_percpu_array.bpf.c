// An array with a value for each CPU.
// READ kernel/domainname => *
// VARIABLE count = 2
// VARIABLE same = 1
// SINCE 5.19
#include "bpf.h"

__u64 count;
__u32 same;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} scratch SEC(".maps");

SEC("cgroup/sysctl")
int map_percpu_array(struct bpf_sysctl *ctx)
{
	__u32 first = 0;
	__u64 *value = bpf_map_lookup_elem(&scratch, &first), *again;

	if (!value)
		return 0;
	*value += 2;
	again = bpf_map_lookup_percpu_elem(&scratch, &first, bpf_get_smp_processor_id());
	if (again)
		count = *again;
	same = value == again;
	return 1;
}

LICENSE("GPL");
