// Static variables, of a file and of a function.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE sum = 13
#include "bpf.h"

static volatile __u32 of_file = 1;
__u32 sum;

static NOINLINE __u32 next(void)
{
	static __u32 of_function = 5;

	of_function++;
	opaque(of_function);
	return of_function;
}

SEC("cgroup/sysctl")
int data_static(struct bpf_sysctl *ctx)
{
	of_file++;
	sum = sum * 0 + next() + of_file + 3;
	return 1;
}

LICENSE("GPL");
