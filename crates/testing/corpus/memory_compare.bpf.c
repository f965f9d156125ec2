// Eight bytes that are compared at once.
// WRITE kernel/domainname "abcdefgh" => 8
// WRITE kernel/domainname "abcdefgi" => EPERM
#include "bpf.h"

union text {
	char bytes[8];
	__u64 number;
};

const union text wanted = { "abcdefgh" };

SEC("cgroup/sysctl")
int memory_compare(struct bpf_sysctl *ctx)
{
	union text value[2] = {};

	bpf_sysctl_get_new_value(ctx, value[0].bytes, sizeof(value));
	return value[0].number == wanted.number;
}

LICENSE("GPL");
