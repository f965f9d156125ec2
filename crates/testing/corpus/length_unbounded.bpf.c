// A length with a minimum and without a maximum is rejected.
// KERNEL rejects "unbounded memory access, use 'var &= const' or 'if (var < const)'"
// MODEL rejects "unbounded memory access, use 'var &= const' or 'if (var < const)'"
#include "bpf.h"

SEC("cgroup/sysctl")
int length_unbounded(struct bpf_sysctl *ctx)
{
	char value[8];
	long length = bpf_ktime_get_ns();

	if (length < 1)
		return 0;
	bpf_sysctl_get_new_value(ctx, value, length);
	return 1;
}

LICENSE("GPL");
