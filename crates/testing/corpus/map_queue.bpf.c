// A queue: first in, first out; -E2BIG when it is full, -ENOENT when it is empty.
// READ kernel/domainname => *
// VARIABLE results = {0, 0, -7, 0, 0, 0, -2}
// VARIABLE values = {10, 10, 20}
// SINCE 6.4
#include "bpf.h"

long results[7];
__u32 values[3];

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 2);
	__type(value, __u32);
} queue SEC(".maps");

SEC("cgroup/sysctl")
int map_queue(struct bpf_sysctl *ctx)
{
	__u32 first = 10, second = 20, third = 30, out = 0;

	results[0] = bpf_map_push_elem(&queue, &first, BPF_ANY);
	results[1] = bpf_map_push_elem(&queue, &second, BPF_ANY);
	results[2] = bpf_map_push_elem(&queue, &third, BPF_ANY);
	results[3] = bpf_map_peek_elem(&queue, &out);
	values[0] = out;
	results[4] = bpf_map_pop_elem(&queue, &out);
	values[1] = out;
	results[5] = bpf_map_pop_elem(&queue, &out);
	values[2] = out;
	results[6] = bpf_map_pop_elem(&queue, &out);
	return 1;
}

LICENSE("GPL");
