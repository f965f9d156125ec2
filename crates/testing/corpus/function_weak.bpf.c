// A weak function, as in headers.
// READ kernel/domainname => *
// VARIABLE result = 7
#include "bpf.h"

__u32 result;

WEAK NOINLINE int seven(void)
{
	int number = 7;

	opaque(number);
	return number;
}

SEC("cgroup/sysctl")
int function_weak(struct bpf_sysctl *ctx)
{
	result = seven();
	return 1;
}

LICENSE("GPL");
