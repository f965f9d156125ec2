// An atomic addition of 32 and of 64 bits, whose result is not used.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE word = 4294967295
// VARIABLE long_word = 20
#include "bpf.h"

__u32 word = 1;
__u64 long_word;

SEC("cgroup/sysctl")
int atomic_add(struct bpf_sysctl *ctx)
{
	__sync_fetch_and_add(&word, -1);
	__sync_fetch_and_add(&long_word, 10);
	return 1;
}

LICENSE("GPL");
