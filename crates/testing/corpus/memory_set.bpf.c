// `__builtin_memset`, with zeros and another byte.
// READ kernel/domainname => *
// VARIABLE filled = "*******"
// VARIABLE zeroed = 0
#include "bpf.h"

char filled[8];
__u64 zeroed;

SEC("cgroup/sysctl")
int memory_set(struct bpf_sysctl *ctx)
{
	__u64 local[4];

	__builtin_memset(local, 0, sizeof(local));
	opaque(local[1]);
	zeroed = local[0] | local[1] | local[2] | local[3];
	__builtin_memset(filled, '*', 7);
	return 1;
}

LICENSE("GPL");
