// Values that must survive calls of functions and helpers.
// READ kernel/domainname => *
// VARIABLE result = 110
#include "bpf.h"

__u32 result, one = 1;

static NOINLINE __u32 twice(__u32 n)
{
	opaque(n);
	bpf_ktime_get_ns();
	return n * 2;
}

SEC("cgroup/sysctl")
int function_callee_saved(struct bpf_sysctl *ctx)
{
	__u32 a = one * 3, b = one * 4, c = one * 5, d = one * 6, e = one * 7;
	__u32 doubled = twice(a) + twice(b) + twice(c) + twice(d) + twice(e);

	result = doubled + a + b + c + d + e + 35 * one;
	return 1;
}

LICENSE("GPL");
