// A length of 1 to 8, by a mask.
// WRITE kernel/domainname "example\n" => 8
// VARIABLE value = "examp"
// VARIABLE result = -7
#include "bpf.h"

char value[16];
int result;
__u64 length = 0x105;

SEC("cgroup/sysctl")
int length_masked(struct bpf_sysctl *ctx)
{
	__u64 bounded = (length & 7) + 1;

	opaque(bounded);
	result = bpf_sysctl_get_new_value(ctx, value, ((bounded - 1) & 7) + 1);
	return 1;
}

LICENSE("GPL");
