// `write` is read-only.
// KERNEL rejects "invalid bpf_context access off=0 size=4"
// MODEL rejects "invalid bpf_context access off=0 size=4"
#include "bpf.h"

SEC("cgroup/sysctl")
int context_store_to_write(struct bpf_sysctl *ctx)
{
	__u32 one = 1;

	opaque(one);
	ctx->write = one;
	return 1;
}

LICENSE("GPL");
