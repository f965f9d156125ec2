// Numbers of 32 bits wrap around, and their upper half is 0 afterwards.
// READ kernel/domainname => *
// VARIABLE sum = 1
// VARIABLE difference = 4294967295
// VARIABLE product = 0xfffffffe
// VARIABLE widened = 0x80000000
#include "bpf.h"

__u32 sum, difference, product, most = ~0u, two = 2;
__u64 widened;

SEC("cgroup/sysctl")
int alu_32_bits(struct bpf_sysctl *ctx)
{
	__u32 half = 1u << 31;

	sum = most + two;
	difference = two - 3;
	product = most * two;
	opaque(half);
	widened = half;
	return 1;
}

LICENSE("GPL");
