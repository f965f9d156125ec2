// An empty write has no new value either.
// WRITE kernel/domainname "" => 0
// VARIABLE result = -22
#include "bpf.h"

int result;

SEC("cgroup/sysctl")
int new_value_of_an_empty_write(struct bpf_sysctl *ctx)
{
	char value[8];

	result = bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return 1;
}

LICENSE("GPL");
