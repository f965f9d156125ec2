// A store to a constant.
// KERNEL rejects "write into map forbidden, value_size=4 off=0 size=4"
// MODEL rejects "write into map forbidden, value_size=4 off=0 size=4"
#include "bpf.h"

const volatile __u32 constant = 5;

SEC("cgroup/sysctl")
int data_constant_written(struct bpf_sysctl *ctx)
{
	*(volatile __u32 *)&constant = 6;
	return 1;
}

LICENSE("GPL");
