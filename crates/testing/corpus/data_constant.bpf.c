// A constant table.
// READ kernel/domainname => *
// VARIABLE sum = 100
// VARIABLE third = 30
#include "bpf.h"

const __u32 numbers[4] = { 10, 20, 30, 40 };
__u32 sum, third, which = 2;

SEC("cgroup/sysctl")
int data_constant(struct bpf_sysctl *ctx)
{
	__u32 total = 0;

	for (int i = 0; i < 4; i++)
		total += *(const volatile __u32 *)&numbers[i];
	sum = total;
	third = numbers[which & 3];
	return 1;
}

LICENSE("GPL");
