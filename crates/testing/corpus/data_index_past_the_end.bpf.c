// An index that may be one too large.
// KERNEL rejects "invalid access to map value, value_size="
// MODEL rejects "R1 max value is outside of the allowed memory range"
#include "bpf.h"

__u32 table[8];

SEC("cgroup/sysctl")
int data_index_past_the_end(struct bpf_sysctl *ctx)
{
	__u64 index = bpf_ktime_get_ns();

	if (index > 8)
		return 0;
	return table[index] & 1;
}

LICENSE("GPL");
