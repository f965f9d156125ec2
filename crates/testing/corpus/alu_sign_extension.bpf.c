// Small signed numbers, which v4 loads and moves with their sign.
// READ kernel/domainname => *
// VARIABLE loaded = {-5, -500, -50000}
// VARIABLE moved = {-1, -2, -3}
#include "bpf.h"

__s8 byte = -5;
__s16 half = -500;
__s32 word = -50000;
__s64 loaded[3], moved[3];
__u64 numbers[3] = { 0x1ff, 0x1fffe, 0x1fffffffd };

SEC("cgroup/sysctl")
int alu_sign_extension(struct bpf_sysctl *ctx)
{
	loaded[0] = byte;
	loaded[1] = half;
	loaded[2] = word;
	moved[0] = (__s8)numbers[0];
	moved[1] = (__s16)numbers[1];
	moved[2] = (__s32)numbers[2];
	return 1;
}

LICENSE("GPL");
