// A tail call in a static function returns to the function's caller.
// PROGRAM tail_call_in_function
// READ kernel/domainname => *
// VARIABLE trace = 123
// SINCE 5.10
#include "bpf.h"

__u32 trace;

SEC("cgroup/sysctl")
int called(struct bpf_sysctl *ctx)
{
	trace = trace * 10 + 2;
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(struct bpf_sysctl *));
} programs SEC(".maps") = { .values = { [0] = &called } };

static NOINLINE int function(struct bpf_sysctl *ctx)
{
	trace = trace * 10 + 1;
	bpf_tail_call(ctx, &programs, 0);
	trace = trace * 10 + 9;
	return 1;
}

SEC("cgroup/sysctl")
int tail_call_in_function(struct bpf_sysctl *ctx)
{
	function(ctx);
	trace = trace * 10 + 3;
	return 1;
}

LICENSE("GPL");
