// Loads of one and two bytes of `write`, each byte of it.
// WRITE kernel/domainname "a\n" => 2
// VARIABLE bytes = {1, 0, 0, 0}
// VARIABLE halves = {1, 0}
#include "bpf.h"

__u32 bytes[4], halves[2];

SEC("cgroup/sysctl")
int context_narrow_write(struct bpf_sysctl *ctx)
{
	volatile __u8 *byte = (volatile __u8 *)&ctx->write;
	volatile __u16 *half = (volatile __u16 *)&ctx->write;

	bytes[0] = byte[0];
	bytes[1] = byte[1];
	bytes[2] = byte[2];
	bytes[3] = byte[3];
	halves[0] = half[0];
	halves[1] = half[1];
	return 1;
}

LICENSE("GPL");
