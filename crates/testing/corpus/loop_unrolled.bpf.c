// A loop that the compiler unrolls.
// WRITE kernel/domainname "abcdefgh" => 8
// VARIABLE sum = 804
#include "bpf.h"

__u32 sum;

SEC("cgroup/sysctl")
int loop_unrolled(struct bpf_sysctl *ctx)
{
	char value[9] = {};
	__u32 total = 0;

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		total += value[i];
	sum = total;
	return 1;
}

LICENSE("GPL");
