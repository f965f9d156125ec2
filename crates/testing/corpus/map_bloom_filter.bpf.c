// A Bloom filter: what was pushed is found.
// MODEL lacks "maps of type bloom_filter"
// READ kernel/domainname => *
// VARIABLE results = {0, 0, -2}
// SINCE 5.16
#include "bpf.h"

/* Before 6.4, the helpers for this map return 32 bits. */
int results[3];
/* Not on the stack: Linux 7.3.4 takes what only bpf_map_peek_elem reads there for dead. */
__u32 one = 1, two = 2;

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__uint(map_extra, 3);
	__type(value, __u32);
} seen SEC(".maps");

SEC("cgroup/sysctl")
int map_bloom_filter(struct bpf_sysctl *ctx)
{
	results[0] = bpf_map_push_elem(&seen, &one, BPF_ANY);
	results[1] = bpf_map_peek_elem(&seen, &one);
	results[2] = bpf_map_peek_elem(&seen, &two);
	return 1;
}

LICENSE("GPL");
