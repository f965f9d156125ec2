// A program must return 0 or 1.
// KERNEL rejects "should have been in [0, 1]"
// MODEL rejects "should have been in [0, 1]"
#include "bpf.h"

SEC("cgroup/sysctl")
int return_two(struct bpf_sysctl *ctx)
{
	return 2;
}

LICENSE("GPL");
