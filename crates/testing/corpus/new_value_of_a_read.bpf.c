// A read has no new value: the buffer is zeroed, and the result is -EINVAL.
// READ kernel/domainname => *
// VARIABLE value = ""
// VARIABLE result = -22
#include "bpf.h"

char value[8] = "before";
int result;

SEC("cgroup/sysctl")
int new_value_of_a_read(struct bpf_sysctl *ctx)
{
	result = bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return 1;
}

LICENSE("GPL");
