// Atomic exchange, and exchange if the value is the expected one.
// CPU v3
// READ kernel/domainname => *
// VARIABLE words = {5, 6, 20}
// VARIABLE old = {1, 10, 20}
// SINCE 5.12
#include "bpf.h"

__u32 words[3] = { 1, 10, 20 }, old[3];

SEC("cgroup/sysctl")
int atomic_exchange(struct bpf_sysctl *ctx)
{
	old[0] = __sync_lock_test_and_set(&words[0], 5);
	old[1] = __sync_val_compare_and_swap(&words[1], 10, 6);
	old[2] = __sync_val_compare_and_swap(&words[2], 10, 6);
	return 1;
}

LICENSE("GPL");
