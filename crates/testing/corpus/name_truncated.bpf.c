// A buffer that is too short for the name: what fits, a NUL, and -E2BIG.
// READ net/ipv4/ip_default_ttl => *
// VARIABLE name = "net/ipv"
// VARIABLE result = -7
#include "bpf.h"

char name[8];
int result;

SEC("cgroup/sysctl")
int name_truncated(struct bpf_sysctl *ctx)
{
	result = bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	return 1;
}

LICENSE("GPL");
