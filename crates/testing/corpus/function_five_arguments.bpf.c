// As many arguments as there are registers for them.
// READ kernel/domainname => *
// VARIABLE result = 12345
#include "bpf.h"

__u32 result, one = 1;

static NOINLINE __u32 digits(__u32 a, __u32 b, __u32 c, __u32 d, __u32 e)
{
	opaque(a);
	return (((a * 10 + b) * 10 + c) * 10 + d) * 10 + e;
}

SEC("cgroup/sysctl")
int function_five_arguments(struct bpf_sysctl *ctx)
{
	result = digits(one, one + 1, one + 2, one + 3, one + 4);
	return 1;
}

LICENSE("GPL");
