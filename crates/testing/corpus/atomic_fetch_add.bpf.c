// An atomic addition that returns the old value.
// CPU v3
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE old = 110
// VARIABLE long_old = 17
// SINCE 5.12
#include "bpf.h"

__u32 word = 100, old;
__u64 long_word = 10, long_old;

SEC("cgroup/sysctl")
int atomic_fetch_add(struct bpf_sysctl *ctx)
{
	old = __sync_fetch_and_add(&word, 10);
	long_old = __sync_fetch_and_add(&long_word, 7);
	return 1;
}

LICENSE("GPL");
