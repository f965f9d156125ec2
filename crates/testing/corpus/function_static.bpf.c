// A static function that is not inlined.
// READ kernel/domainname => *
// VARIABLE result = 120
#include "bpf.h"

__u32 result, number = 5;

static NOINLINE __u32 factorial(__u32 n)
{
	__u32 product = 1;

	for (__u32 i = 2; i <= n && i < 10; i++)
		product *= i;
	return product;
}

SEC("cgroup/sysctl")
int function_static(struct bpf_sysctl *ctx)
{
	result = factorial(number);
	return 1;
}

LICENSE("GPL");
