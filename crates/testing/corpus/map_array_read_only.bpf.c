// A program's store into an array that is read-only for programs.
// KERNEL rejects "write into map forbidden"
// MODEL rejects "write into map forbidden"
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, __u64);
} settings SEC(".maps");

SEC("cgroup/sysctl")
int map_array_read_only(struct bpf_sysctl *ctx)
{
	__u32 first = 0;
	__u64 *setting = bpf_map_lookup_elem(&settings, &first);

	if (setting)
		*setting = 1;
	return 1;
}

LICENSE("GPL");
