// `bpf_loop` with a callback.
// READ kernel/domainname => *
// VARIABLE sum = 499500
// VARIABLE iterations = 1000
// SINCE 5.17
#include "bpf.h"

__u64 sum;
long iterations;

static long add(__u32 index, __u64 *total)
{
	*total += index;
	return 0;
}

SEC("cgroup/sysctl")
int loop_helper(struct bpf_sysctl *ctx)
{
	__u64 total = 0;

	iterations = bpf_loop(1000, add, &total, 0);
	sum = total;
	return 1;
}

LICENSE("GPL");
