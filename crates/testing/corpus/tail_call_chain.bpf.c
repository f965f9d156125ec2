// A program that tail-calls itself until the limit of 33.
// PROGRAM tail_call_chain
// READ kernel/domainname => *
// VARIABLE runs = 34
// SINCE 6.1
#include "bpf.h"

__u32 runs;

int again(struct bpf_sysctl *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(struct bpf_sysctl *));
} programs SEC(".maps") = { .values = { [0] = &again } };

SEC("cgroup/sysctl")
int again(struct bpf_sysctl *ctx)
{
	runs++;
	bpf_tail_call(ctx, &programs, 0);
	return 1;
}

SEC("cgroup/sysctl")
int tail_call_chain(struct bpf_sysctl *ctx)
{
	runs++;
	bpf_tail_call(ctx, &programs, 0);
	return 0;
}

LICENSE("GPL");
