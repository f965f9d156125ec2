// An array that user space can map into its memory.
// READ kernel/domainname => *
// READ kernel/domainname => *
// ENTRIES shared = 3
// VARIABLE count = 2
#include "bpf.h"

__u64 count;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

SEC("cgroup/sysctl")
int map_array_mappable(struct bpf_sysctl *ctx)
{
	__u32 last = 2;
	__u64 *value = bpf_map_lookup_elem(&shared, &last);

	if (value)
		count = ++*value;
	return 1;
}

LICENSE("GPL");
