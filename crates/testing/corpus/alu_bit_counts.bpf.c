// Bits counted by what the compiler makes of the builtins.
// READ kernel/domainname => *
// VARIABLE ones = 13
// VARIABLE parity = 1
#include "bpf.h"

__u32 ones, parity, word = 0x12345678;

SEC("cgroup/sysctl")
int alu_bit_counts(struct bpf_sysctl *ctx)
{
	ones = __builtin_popcount(word);
	parity = __builtin_parity(word);
	return 1;
}

LICENSE("GPL");
