// `may_goto`, which leaves a loop when its budget is used up; here another condition comes first. Encoded by hand, since older
// compilers do not know it.
// READ kernel/domainname => *
// VARIABLE counted = 1000
// SINCE 6.9
#include "bpf.h"

__u32 counted, most = 1000;

SEC("cgroup/sysctl")
int loop_may_goto(struct bpf_sysctl *ctx)
{
	__u32 i;

	for (i = 0; i < most; i++) {
		/* if the budget is used up goto out; */
		asm volatile goto(".byte 0xe5; .byte 0; .long ((%l[out] - . - 6) / 8) & 0xffff; .short 0" : : : : out);
		opaque(i);
	}
out:
	counted = i;
	return 1;
}

LICENSE("GPL");
