// A helper writes into the value of a map.
// WRITE kernel/domainname "example" => 7
// VARIABLE first = 101
#include "bpf.h"

char first;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, char[1024]);
} buffer SEC(".maps");

SEC("cgroup/sysctl")
int map_as_buffer(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;
	char *value = bpf_map_lookup_elem(&buffer, &zero);

	if (!value || bpf_sysctl_get_new_value(ctx, value, 1024) < 0)
		return 0;
	first = value[0];
	return 1;
}

LICENSE("GPL");
