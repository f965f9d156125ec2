// The last component of the name.
// READ net/ipv4/ip_default_ttl => *
// VARIABLE name = "ip_default_ttl"
// VARIABLE length = 14
#include "bpf.h"

char name[32];
int length;

SEC("cgroup/sysctl")
int name_base(struct bpf_sysctl *ctx)
{
	length = bpf_sysctl_get_name(ctx, name, sizeof(name), BPF_F_SYSCTL_BASE_NAME);
	return 1;
}

LICENSE("GPL");
