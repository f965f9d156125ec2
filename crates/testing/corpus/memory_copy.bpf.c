// `__builtin_memcpy` between stack and map.
// READ kernel/domainname => *
// VARIABLE copied = {5, 6, 7, 8, 9}
#include "bpf.h"

struct block {
	__u32 numbers[5];
};

struct block copied, source = { { 5, 6, 7, 8, 9 } };

SEC("cgroup/sysctl")
int memory_copy(struct bpf_sysctl *ctx)
{
	struct block local;

	__builtin_memcpy(&local, &source, sizeof(local));
	opaque(local.numbers[0]);
	__builtin_memcpy(&copied, &local, sizeof(copied));
	return 1;
}

LICENSE("GPL");
