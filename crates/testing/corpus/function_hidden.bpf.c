// A hidden function, which libbpf verifies like a static one.
// READ kernel/domainname => *
// VARIABLE length = 17
#include "bpf.h"

__u32 length;

HIDDEN NOINLINE long name_of(struct bpf_sysctl *ctx, char *name)
{
	return bpf_sysctl_get_name(ctx, name, 32, 0);
}

SEC("cgroup/sysctl")
int function_hidden(struct bpf_sysctl *ctx)
{
	char name[32];

	length = name_of(ctx, name);
	return 1;
}

LICENSE("GPL");
