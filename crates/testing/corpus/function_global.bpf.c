// A global function, which the kernel can verify by itself.
// READ kernel/domainname => *
// VARIABLE result = 42
#include "bpf.h"

__u32 result, number = 6;

NOINLINE int multiply(int left, int right)
{
	opaque(left);
	return left * right;
}

SEC("cgroup/sysctl")
int function_global(struct bpf_sysctl *ctx)
{
	result = multiply(number, 7);
	return 1;
}

LICENSE("GPL");
