// Division by constants.
// READ kernel/domainname => *
// VARIABLE quotients = {142857, 62500, 1}
// VARIABLE remainders = {1, 0, 1}
#include "bpf.h"

__u32 quotients[3], remainders[3], dividend = 1000000;

SEC("cgroup/sysctl")
int alu_division_by_constant(struct bpf_sysctl *ctx)
{
	quotients[0] = dividend / 7;
	quotients[1] = dividend / 16;
	quotients[2] = dividend / 999999;
	remainders[0] = dividend % 7;
	remainders[1] = dividend % 16;
	remainders[2] = dividend % 999999;
	return 1;
}

LICENSE("GPL");
