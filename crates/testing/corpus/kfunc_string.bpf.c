// Kernel functions for texts.
// MODEL lacks "kernel function bpf_strcmp"
// READ kernel/domainname => *
// VARIABLE equal = 0
// SINCE 6.17
#include "bpf.h"

extern int bpf_strcmp(const char *s1, const char *s2) KSYM;

const char first[] = "kernel", second[] = "kernel";
int equal = 1;

SEC("cgroup/sysctl")
int kfunc_string(struct bpf_sysctl *ctx)
{
	equal = bpf_strcmp(first, second);
	return 1;
}

LICENSE("GPL");
