// A static function without a result.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE calls = 2
#include "bpf.h"

__u32 calls;

static NOINLINE void count(void)
{
	calls++;
}

SEC("cgroup/sysctl")
int function_void(struct bpf_sysctl *ctx)
{
	count();
	return 1;
}

LICENSE("GPL");
