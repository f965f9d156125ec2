// The bytes of a number, through a union.
// READ kernel/domainname => *
// VARIABLE bytes = {4, 3, 2, 1}
#include "bpf.h"

union number {
	__u32 whole;
	__u8 bytes[4];
};

__u32 bytes[4], given = 0x01020304;

SEC("cgroup/sysctl")
int data_unions(struct bpf_sysctl *ctx)
{
	union number number = { .whole = given };

	for (int i = 0; i < 4; i++)
		bytes[i] = number.bytes[i];
	return 1;
}

LICENSE("GPL");
