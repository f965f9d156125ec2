// A length that may be 0 is rejected.
// KERNEL rejects "R3 invalid zero-sized read"
// MODEL rejects "R3 invalid zero-sized read"
#include "bpf.h"

SEC("cgroup/sysctl")
int length_may_be_zero(struct bpf_sysctl *ctx)
{
	char value[8] = "value";
	__u64 length = ctx->file_pos & 7;

	bpf_sysctl_set_new_value(ctx, value, length);
	return 1;
}

LICENSE("GPL");
