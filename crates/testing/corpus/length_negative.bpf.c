// A length that may be negative is rejected.
// KERNEL rejects "R3 min value is negative, either use unsigned or 'var &= const'"
// MODEL rejects "R3 min value is negative, either use unsigned or 'var &= const'"
#include "bpf.h"

SEC("cgroup/sysctl")
int length_negative(struct bpf_sysctl *ctx)
{
	char value[8];
	long length = bpf_ktime_get_ns();

	if (length > 8)
		return 0;
	bpf_sysctl_get_new_value(ctx, value, length);
	return 1;
}

LICENSE("GPL");
