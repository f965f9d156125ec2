// Signed division and remainder, which only v4 has.
// CPU v4
// READ kernel/domainname => *
// VARIABLE quotients = {-14, -14, 14}
// VARIABLE remainders = {-2, 2, -2}
// VARIABLE long_quotient = -1000000000000
// SINCE 6.6
#include "bpf.h"

__s32 quotients[3], remainders[3], hundred = 100, seven = 7;
__s64 long_quotient, large = 7000000000000;

SEC("cgroup/sysctl")
int alu_signed_division(struct bpf_sysctl *ctx)
{
	quotients[0] = -hundred / seven;
	quotients[1] = hundred / -seven;
	quotients[2] = -hundred / -seven;
	remainders[0] = -hundred % seven;
	remainders[1] = hundred % -seven;
	remainders[2] = -hundred % -seven;
	long_quotient = large / -seven;
	return 1;
}

LICENSE("GPL");
