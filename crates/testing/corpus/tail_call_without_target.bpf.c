// A tail call of an empty slot and one behind the end: the caller goes on.
// READ kernel/domainname => *
// VARIABLE failed = 2
#include "bpf.h"

__u32 failed;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} programs SEC(".maps");

SEC("cgroup/sysctl")
int tail_call_without_target(struct bpf_sysctl *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	failed++;
	bpf_tail_call(ctx, &programs, 2);
	failed++;
	return 1;
}

LICENSE("GPL");
