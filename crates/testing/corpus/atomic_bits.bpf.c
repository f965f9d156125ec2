// Atomic and, or and exclusive or, with the old values.
// CPU v3
// READ kernel/domainname => *
// VARIABLE words = {0x0f, 0xff, 0xf0}
// VARIABLE old = {0xff, 0x0f, 0xff}
// SINCE 5.12
#include "bpf.h"

__u64 words[3] = { 0xff, 0x0f, 0xff }, old[3];

SEC("cgroup/sysctl")
int atomic_bits(struct bpf_sysctl *ctx)
{
	old[0] = __sync_fetch_and_and(&words[0], 0x0f);
	old[1] = __sync_fetch_and_or(&words[1], 0xf0);
	old[2] = __sync_fetch_and_xor(&words[2], 0x0f);
	return 1;
}

LICENSE("GPL");
