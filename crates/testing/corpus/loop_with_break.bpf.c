// A loop that ends at a byte of the value.
// WRITE kernel/domainname "one two" => 7
// VARIABLE length = 3
// WRITE kernel/domainname "four" => 4
// VARIABLE length = 4
#include "bpf.h"

__u32 length;

SEC("cgroup/sysctl")
int loop_with_break(struct bpf_sysctl *ctx)
{
	char value[32] = {};
	__u32 i;

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
#pragma clang loop unroll(disable)
	for (i = 0; i < sizeof(value); i++)
		if (!value[i] || value[i] == ' ')
			break;
	length = i;
	return 1;
}

LICENSE("GPL");
