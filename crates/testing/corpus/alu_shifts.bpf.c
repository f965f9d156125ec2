// Shifts by a variable: logical, arithmetic, of 32 and of 64 bits; and a rotation.
// READ kernel/domainname => *
// VARIABLE left = 0x123456780
// VARIABLE right = 0x1234567
// VARIABLE arithmetic = -16
// VARIABLE arithmetic_32 = -134217728
// VARIABLE rotated = 0x23456781
#include "bpf.h"

__u64 left;
__u32 right, rotated, word = 0x12345678, by = 4;
__s64 arithmetic, negative = -256;
__s32 arithmetic_32, least = -2147483647 - 1;

SEC("cgroup/sysctl")
int alu_shifts(struct bpf_sysctl *ctx)
{
	__u32 bits = by & 31;

	left = (__u64)word << bits;
	right = word >> bits;
	arithmetic = negative >> bits;
	arithmetic_32 = least >> bits;
	rotated = word << bits | word >> (32 - bits);
	return 1;
}

LICENSE("GPL");
