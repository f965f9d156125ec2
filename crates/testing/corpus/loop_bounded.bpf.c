// A loop that the compiler does not unroll.
// READ kernel/domainname => *
// VARIABLE sum = 4950
#include "bpf.h"

__u32 sum;

SEC("cgroup/sysctl")
int loop_bounded(struct bpf_sysctl *ctx)
{
	__u32 total = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 100; i++) {
		opaque(total);
		total += i;
	}
	sum = total;
	return 1;
}

LICENSE("GPL");
