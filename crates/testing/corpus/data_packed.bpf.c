// Unaligned members of a packed structure, in memory where the compiler goes byte by byte.
// READ kernel/domainname => *
// VARIABLE half = 0x0201
// VARIABLE word = 0x06050403
// VARIABLE long_word = 0x0e0d0c0b0a090807
#include "bpf.h"

struct __attribute__((packed)) packed {
	__u8 first;
	__u16 half;
	__u32 word;
	__u64 long_word;
};

__u8 raw[15] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 };
__u16 half;
__u32 word;
__u64 long_word;

SEC("cgroup/sysctl")
int data_packed(struct bpf_sysctl *ctx)
{
	const volatile struct packed *packed = (const volatile struct packed *)raw;

	half = packed->half;
	word = packed->word;
	long_word = packed->long_word;
	return 1;
}

LICENSE("GPL");
