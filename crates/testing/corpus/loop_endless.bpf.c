// A loop without an end.
// KERNEL rejects "infinite loop detected"
// MODEL rejects "infinite loop detected"
#include "bpf.h"

SEC("cgroup/sysctl")
int loop_endless(struct bpf_sysctl *ctx)
{
	for (;;)
		asm volatile("");
	return 1;
}

LICENSE("GPL");
