// The name of the knob, with slashes.
// READ kernel/domainname => *
// VARIABLE name = "kernel/domainname"
// VARIABLE length = 17
#include "bpf.h"

char name[32];
int length;

SEC("cgroup/sysctl")
int name_full(struct bpf_sysctl *ctx)
{
	length = bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	return 1;
}

LICENSE("GPL");
