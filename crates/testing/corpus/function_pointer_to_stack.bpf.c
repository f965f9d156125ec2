// A pointer to the caller's stack.
// READ kernel/domainname => *
// VARIABLE seen = 77
#include "bpf.h"

__u64 seen;

static NOINLINE long store(__u64 *where, __u64 number)
{
	opaque(number);
	*where = number;
	return 0;
}

SEC("cgroup/sysctl")
int function_pointer_to_stack(struct bpf_sysctl *ctx)
{
	__u64 local = 1;

	store(&local, 77);
	seen = local;
	return 1;
}

LICENSE("GPL");
