// A load of eight bytes, across both members.
// KERNEL rejects "invalid bpf_context access off=0 size=8"
// MODEL rejects "invalid bpf_context access off=0 size=8"
#include "bpf.h"

SEC("cgroup/sysctl")
int context_wide_load(struct bpf_sysctl *ctx)
{
	return *(volatile __u64 *)ctx & 1;
}

LICENSE("GPL");
