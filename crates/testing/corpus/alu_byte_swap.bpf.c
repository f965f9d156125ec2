// Numbers in the other byte order.
// READ kernel/domainname => *
// VARIABLE half = 0x0201
// VARIABLE word = 0x04030201
// VARIABLE long_word = 0x0807060504030201
#include "bpf.h"

__u16 half = 0x0102;
__u32 word = 0x01020304;
__u64 long_word = 0x0102030405060708;

SEC("cgroup/sysctl")
int alu_byte_swap(struct bpf_sysctl *ctx)
{
	half = __builtin_bswap16(half);
	word = __builtin_bswap32(word);
	long_word = __builtin_bswap64(long_word);
	return 1;
}

LICENSE("GPL");
