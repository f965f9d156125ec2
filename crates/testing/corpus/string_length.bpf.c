// The length of a string, counted.
// WRITE kernel/domainname "example" => 7
// VARIABLE length = 7
// VARIABLE constant = 12
#include "bpf.h"

__u32 length, constant;

SEC("cgroup/sysctl")
int string_length(struct bpf_sysctl *ctx)
{
	char value[16] = {};
	__u32 counted = 0;

	bpf_sysctl_get_new_value(ctx, value, sizeof(value) - 1);
	while (counted < sizeof(value) && value[counted])
		counted++;
	length = counted;
	constant = __builtin_strlen("twelve bytes");
	return 1;
}

LICENSE("GPL");
