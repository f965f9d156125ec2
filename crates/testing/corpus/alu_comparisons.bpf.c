// Signed and unsigned comparisons, of 32 and 64 bits.
// READ kernel/domainname => *
// VARIABLE mask = 0x29a
#include "bpf.h"

__u32 mask;
__s32 minus = -1, one = 1;
__s64 long_minus = -1, long_one = 1;

SEC("cgroup/sysctl")
int alu_comparisons(struct bpf_sysctl *ctx)
{
	__u32 result = 0;

	if (minus > one)
		result |= 1;
	if (minus < one)
		result |= 2;
	if ((__u32)minus < (__u32)one)
		result |= 4;
	if ((__u32)minus > (__u32)one)
		result |= 8;
	if (long_minus <= long_one)
		result |= 16;
	if (long_minus >= long_one)
		result |= 32;
	if (minus & 0x80000000)
		result |= 128;
	if (minus == one)
		result |= 256;
	if (long_minus != long_one)
		result |= 512;
	mask = result;
	return 1;
}

LICENSE("GPL");
