// Numbers of 64 bits.
// READ kernel/domainname => *
// VARIABLE sum = 0x100000001
// VARIABLE product = 0xfffffffe00000001
// VARIABLE negated = -9223372036854775807
// VARIABLE inverted = 0xffffffff00000000
#include "bpf.h"

__u64 sum, product, inverted, most = 0xffffffff;
__s64 negated, large = 0x7fffffffffffffffLL;

SEC("cgroup/sysctl")
int alu_64_bits(struct bpf_sysctl *ctx)
{
	sum = most + 2;
	product = most * most;
	negated = -large;
	inverted = ~most;
	return 1;
}

LICENSE("GPL");
