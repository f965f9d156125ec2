// A load behind the last member.
// KERNEL rejects "invalid bpf_context access off=8 size=4"
// MODEL rejects "invalid bpf_context access off=8 size=4"
#include "bpf.h"

SEC("cgroup/sysctl")
int context_past_the_end(struct bpf_sysctl *ctx)
{
	return ((volatile __u32 *)ctx)[2] & 1;
}

LICENSE("GPL");
