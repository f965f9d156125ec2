/*
 * A loop of which every round is another state: too many for the verifier.
 */
#include "hook.h"

SEC("cgroup/sysctl")
int endless(struct bpf_sysctl *ctx)
{
	__u32 sum = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 2000000; i++)
		sum += *(volatile __u32 *)&ctx->write;
	return sum > 7;
}

char _license[] SEC("license") = "GPL";
