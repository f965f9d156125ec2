// Nothing can replace what is read.
// READ kernel/domainname => *
// VARIABLE result = -22
#include "bpf.h"

int result;

SEC("cgroup/sysctl")
int set_new_value_of_a_read(struct bpf_sysctl *ctx)
{
	result = bpf_sysctl_set_new_value(ctx, "x", 1);
	return 1;
}

LICENSE("GPL");
