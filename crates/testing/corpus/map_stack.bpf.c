// A stack: last in, first out; BPF_EXIST pushes out the oldest.
// READ kernel/domainname => *
// VARIABLE values = {30, 20}
// ENTRIES stack = 0
#include "bpf.h"

__u32 values[2];

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 2);
	__type(value, __u32);
} stack SEC(".maps");

SEC("cgroup/sysctl")
int map_stack(struct bpf_sysctl *ctx)
{
	__u32 first = 10, second = 20, third = 30, out = 0;

	bpf_map_push_elem(&stack, &first, BPF_ANY);
	bpf_map_push_elem(&stack, &second, BPF_ANY);
	bpf_map_push_elem(&stack, &third, BPF_EXIST);
	bpf_map_pop_elem(&stack, &out);
	values[0] = out;
	bpf_map_pop_elem(&stack, &out);
	values[1] = out;
	return 1;
}

LICENSE("GPL");
