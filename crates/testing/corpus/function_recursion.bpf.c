// A function that calls itself.
// KERNEL rejects "the call stack of"
// MODEL rejects "the call stack of"
#include "bpf.h"

__u32 number = 3;

static NOINLINE __u32 down(__u32 n)
{
	opaque(n);
	if (!n)
		return 0;
	return down(n - 1) * 2 + bpf_get_prandom_u32();
}

SEC("cgroup/sysctl")
int function_recursion(struct bpf_sysctl *ctx)
{
	return down(number) & 1;
}

LICENSE("GPL");
