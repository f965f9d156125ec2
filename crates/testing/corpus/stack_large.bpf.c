// A buffer of nearly all the stack.
// WRITE kernel/domainname "example" => 7
// VARIABLE last = 101
#include "bpf.h"

__u32 last;

SEC("cgroup/sysctl")
int stack_large(struct bpf_sysctl *ctx)
{
	char value[448] = {};
	long length = bpf_sysctl_get_new_value(ctx, value, sizeof(value));

	if (length > 0 && length <= sizeof(value))
		last = value[length - 1];
	return 1;
}

LICENSE("GPL");
