// Code that a constant switches off, and that the verifier never sees: it would be rejected.
// READ kernel/domainname => *
// VARIABLE ran = 1
#include "bpf.h"

const volatile bool broken = false;
__u32 ran;

SEC("cgroup/sysctl")
int data_dead_code(struct bpf_sysctl *ctx)
{
	if (broken)
		return *(volatile __u32 *)NULL & 1;
	ran = 1;
	return 1;
}

LICENSE("GPL");
