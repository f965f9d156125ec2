// A sum of 128 bits.
// READ kernel/domainname => *
// VARIABLE low = 1
// VARIABLE high = 6
#include "bpf.h"

__u64 low, high, most = ~0ull, five = 5;

SEC("cgroup/sysctl")
int alu_wide_integers(struct bpf_sysctl *ctx)
{
	unsigned __int128 number = (unsigned __int128)five << 64 | most;

	number += 2;
	low = number;
	high = number >> 64;
	return 1;
}

LICENSE("GPL");
