// `bpf_loop` makes at most 8,388,608 iterations: -E2BIG, without the sign extension where the verifier inlines the call.
// READ kernel/domainname => *
// VARIABLE result = 4294967289
// SINCE 5.17
#include "bpf.h"

long result;

static long nothing(__u32 index, void *unused)
{
	return 0;
}

SEC("cgroup/sysctl")
int loop_helper_too_long(struct bpf_sysctl *ctx)
{
	result = bpf_loop((1 << 23) + 1, nothing, NULL, 0);
	return 1;
}

LICENSE("GPL");
