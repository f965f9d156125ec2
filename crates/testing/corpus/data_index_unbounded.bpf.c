// An index without a bound into a variable.
// KERNEL rejects "unbounded min value is not allowed"
// MODEL rejects "unbounded min value is not allowed"
#include "bpf.h"

__u32 table[8];

SEC("cgroup/sysctl")
int data_index_unbounded(struct bpf_sysctl *ctx)
{
	return table[bpf_ktime_get_ns()] & 1;
}

LICENSE("GPL");
