// A map of the section `maps`, as libbpf before 1.0 and older programs have it. libbpf 1.0 and later do not load it.
// READ kernel/domainname => *
// ENTRIES old_style = 2
#include "bpf.h"

struct bpf_map_def {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
};

struct bpf_map_def old_style SEC("maps") = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = 4,
	.value_size = 8,
	.max_entries = 2,
};

SEC("cgroup/sysctl")
int map_legacy(struct bpf_sysctl *ctx)
{
	__u32 one = 1;
	__u64 *value = bpf_map_lookup_elem(&old_style, &one);

	if (value)
		*value = 5;
	return 1;
}

LICENSE("GPL");
