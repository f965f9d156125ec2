// A load of four bytes at an odd address in a map, which x86 takes.
// READ kernel/domainname => *
// VARIABLE word = 0x04030201
#include "bpf.h"

__u8 raw[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
__u32 word;

SEC("cgroup/sysctl")
int data_unaligned_access(struct bpf_sysctl *ctx)
{
	word = *(volatile __u32 *)(raw + 1);
	return 1;
}

LICENSE("GPL");
