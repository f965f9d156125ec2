// Loads with acquire and stores with release semantics, which newer compilers have instructions for.
// CPU v4
// CLANG 21
// READ kernel/domainname => *
// VARIABLE seen = 7
// VARIABLE stored = 8
// SINCE 6.15
#include "bpf.h"

__u32 given = 7, seen, stored;

SEC("cgroup/sysctl")
int atomic_acquire_release(struct bpf_sysctl *ctx)
{
	seen = __atomic_load_n(&given, __ATOMIC_ACQUIRE);
	__atomic_store_n(&stored, 8, __ATOMIC_RELEASE);
	return 1;
}

LICENSE("GPL");
