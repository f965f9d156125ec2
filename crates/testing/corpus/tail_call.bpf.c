// A tail call through a program array that the object fills.
// PROGRAM tail_call
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => EPERM
// VARIABLE tail_calls = 2
// VARIABLE returns = 0
#include "bpf.h"

__u32 tail_calls, returns;

SEC("cgroup/sysctl")
int reads_only(struct bpf_sysctl *ctx)
{
	tail_calls++;
	return !ctx->write;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(struct bpf_sysctl *));
} programs SEC(".maps") = { .values = { [1] = &reads_only } };

SEC("cgroup/sysctl")
int tail_call(struct bpf_sysctl *ctx)
{
	bpf_tail_call(ctx, &programs, 1);
	returns++;
	return 1;
}

LICENSE("GPL");
