// An array, with an index in bounds and one out of bounds.
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => 1
// WRITE kernel/domainname "b" => 1
// VARIABLE missing = 3
#include "bpf.h"

__u32 missing;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} accesses SEC(".maps");

SEC("cgroup/sysctl")
int map_array(struct bpf_sysctl *ctx)
{
	__u32 kind = ctx->write, behind = 2;
	__u64 *count = bpf_map_lookup_elem(&accesses, &kind);

	if (count)
		*count += 1;
	if (!bpf_map_lookup_elem(&accesses, &behind))
		missing++;
	return 1;
}

LICENSE("GPL");
