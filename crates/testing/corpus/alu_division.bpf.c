// Unsigned division and remainder by a variable, also by 0: that gives 0, and the dividend as the remainder.
// READ kernel/domainname => *
// VARIABLE quotients = {14, 0}
// VARIABLE remainders = {2, 100}
// VARIABLE long_quotients = {0x1999999999999999, 0}
#include "bpf.h"

__u32 quotients[2], remainders[2], dividend = 100, divisors[2] = { 7, 0 };
__u64 long_quotients[2], most = ~0ull, long_divisors[2] = { 10, 0 };

SEC("cgroup/sysctl")
int alu_division(struct bpf_sysctl *ctx)
{
	/* In C, a division by 0 is undefined. The compiler cannot know that there is one. */
	for (int i = 0; i < 2; i++) {
		quotients[i] = dividend / divisors[i];
		remainders[i] = dividend % divisors[i];
		long_quotients[i] = most / long_divisors[i];
	}
	return 1;
}

LICENSE("GPL");
