// An index on the stack without a bound.
// KERNEL rejects "invalid unbounded variable-offset"
// MODEL rejects "invalid unbounded variable-offset"
#include "bpf.h"

SEC("cgroup/sysctl")
int stack_index_unbounded(struct bpf_sysctl *ctx)
{
	char value[16] = {};

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return value[ctx->file_pos] & 1;
}

LICENSE("GPL");
