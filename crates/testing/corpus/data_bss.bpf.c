// Variables without an initial value, of each size.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE byte = 2
// VARIABLE half = 2
// VARIABLE word = 2
// VARIABLE long_word = 2
#include "bpf.h"

__u8 byte;
__u16 half;
__u32 word;
__u64 long_word;

SEC("cgroup/sysctl")
int data_bss(struct bpf_sysctl *ctx)
{
	byte++;
	half++;
	word++;
	long_word++;
	return 1;
}

LICENSE("GPL");
