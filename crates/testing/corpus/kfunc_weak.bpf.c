// A kernel function that the kernel does not have, behind a check.
// READ kernel/domainname => *
// VARIABLE present = 0
// VARIABLE ran = 1
// LACKS bpf_knobgate_invented
#include "bpf.h"

extern int bpf_knobgate_invented(int) KSYM WEAK;

__u32 present = 1, ran;

SEC("cgroup/sysctl")
int kfunc_weak(struct bpf_sysctl *ctx)
{
	if (bpf_knobgate_invented)
		present = bpf_knobgate_invented(1);
	else
		present = 0;
	ran = 1;
	return 1;
}

LICENSE("GPL");
