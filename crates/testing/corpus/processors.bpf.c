// The CPU and the memory node that the program runs on, and random numbers.
// READ kernel/domainname => *
// VARIABLE plausible = 1
// VARIABLE random = 1
// SINCE 5.8
#include "bpf.h"

__u32 plausible, random;

SEC("cgroup/sysctl")
int processors(struct bpf_sysctl *ctx)
{
	__u32 bits = 0;

	plausible = bpf_get_smp_processor_id() < 8192 && (__u64)bpf_get_numa_node_id() < 1024;
	for (int i = 0; i < 32; i++)
		bits |= bpf_get_prandom_u32();
	random = bits == ~0u;
	return 1;
}

LICENSE("GPL");
