// Two functions that need more than 512 bytes of stack together.
// KERNEL rejects "combined stack size of 2 calls is"
// MODEL rejects "combined stack size of 2 calls is"
#include "bpf.h"

static NOINLINE int current_value(struct bpf_sysctl *ctx)
{
	char value[320];

	if (bpf_sysctl_get_current_value(ctx, value, sizeof(value)) < 0)
		return 0;
	return value[0];
}

SEC("cgroup/sysctl")
int stack_of_two_functions(struct bpf_sysctl *ctx)
{
	char value[256];

	if (bpf_sysctl_get_new_value(ctx, value, sizeof(value)) < 0)
		return 1;
	return value[0] != current_value(ctx);
}

LICENSE("GPL");
