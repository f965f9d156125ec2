// A shift by all the bits of a number. No compiler emits it; assembly can.
// KERNEL rejects "invalid shift 64"
// MODEL rejects "invalid shift 64"
#include "bpf.h"

SEC("cgroup/sysctl")
int alu_shift_too_far(struct bpf_sysctl *ctx)
{
	__u64 number = 1;

	asm volatile("%0 <<= 64" : "+r"(number));
	return number & 1;
}

LICENSE("GPL");
