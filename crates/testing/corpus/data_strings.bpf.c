// String literals, which the compiler puts into `.rodata.str1.1`.
// READ kernel/domainname => *
// VARIABLE equal = 1
// VARIABLE different = 1
// SINCE 5.17
#include "bpf.h"

__u32 equal, different;

SEC("cgroup/sysctl")
int data_strings(struct bpf_sysctl *ctx)
{
	char name[32] = {};

	bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	equal = !bpf_strncmp(name, sizeof(name), "kernel/domainname");
	different = bpf_strncmp(name, sizeof(name), "kernel/hostname") < 0;
	return 1;
}

LICENSE("GPL");
