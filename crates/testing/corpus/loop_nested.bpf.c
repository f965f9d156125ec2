// A loop in a loop.
// READ kernel/domainname => *
// VARIABLE table = {1, 2, 3, 4, 2, 4, 6, 8, 3, 6, 9, 12, 4, 8, 12, 16}
#include "bpf.h"

__u32 table[4][4];

SEC("cgroup/sysctl")
int loop_nested(struct bpf_sysctl *ctx)
{
#pragma clang loop unroll(disable)
	for (__u32 row = 0; row < 4; row++)
#pragma clang loop unroll(disable)
		for (__u32 column = 0; column < 4; column++)
			table[row][column] = (row + 1) * (column + 1);
	return 1;
}

LICENSE("GPL");
