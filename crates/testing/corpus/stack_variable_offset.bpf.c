// A load and a store on the stack at an offset that is not known before.
// WRITE kernel/domainname "3" => 1
// VARIABLE loaded = 40
// VARIABLE sum = 70
#include "bpf.h"

__u32 loaded, sum;

SEC("cgroup/sysctl")
int stack_variable_offset(struct bpf_sysctl *ctx)
{
	__u32 numbers[8] = { 10, 20, 30, 40 };
	char value[4] = {};
	__u32 index;

	opaque(numbers[0]);
	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	index = (value[0] - '0') & 3;
	loaded = *(volatile __u32 *)&numbers[index];
	*(volatile __u32 *)&numbers[index + 4] = 30;
	for (int i = 3; i < 8; i++)
		sum += *(volatile __u32 *)&numbers[i];
	return 1;
}

LICENSE("GPL");
