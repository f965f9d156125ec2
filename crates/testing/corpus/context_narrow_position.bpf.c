// Loads of one, two and four bytes of `file_pos`.
// READ kernel/domainname @67305985 => ""
// VARIABLE bytes = {1, 2, 3, 4}
// VARIABLE halves = {0x201, 0x403}
// VARIABLE whole = 0x4030201
#include "bpf.h"

__u32 bytes[4], halves[2], whole;

SEC("cgroup/sysctl")
int context_narrow_position(struct bpf_sysctl *ctx)
{
	volatile __u8 *byte = (volatile __u8 *)&ctx->file_pos;
	volatile __u16 *half = (volatile __u16 *)&ctx->file_pos;

	bytes[0] = byte[0];
	bytes[1] = byte[1];
	bytes[2] = byte[2];
	bytes[3] = byte[3];
	halves[0] = half[0];
	halves[1] = half[1];
	whole = *(volatile __u32 *)&ctx->file_pos;
	return 1;
}

LICENSE("GPL");
