// Variables in a section of their own.
// READ kernel/domainname => *
// VARIABLE counter = 11
// VARIABLE limit = 64
#include "bpf.h"

__u32 counter SEC(".data.counters") = 10;
const volatile __u32 limit SEC(".rodata.limits") = 64;

SEC("cgroup/sysctl")
int data_own_section(struct bpf_sysctl *ctx)
{
	if (counter < limit)
		counter++;
	return 1;
}

LICENSE("GPL");
