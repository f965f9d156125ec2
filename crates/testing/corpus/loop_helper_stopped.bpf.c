// A callback ends `bpf_loop` by returning 1.
// READ kernel/domainname => *
// VARIABLE iterations = 8
// SINCE 5.17
#include "bpf.h"

long iterations;

static long stop(__u32 index, void *unused)
{
	return index == 7;
}

SEC("cgroup/sysctl")
int loop_helper_stopped(struct bpf_sysctl *ctx)
{
	iterations = bpf_loop(1000, stop, NULL, 0);
	return 1;
}

LICENSE("GPL");
