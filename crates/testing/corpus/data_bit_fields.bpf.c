// Bit fields, signed and unsigned.
// READ kernel/domainname => *
// VARIABLE mode = 5
// VARIABLE delta = -3
// VARIABLE flag = 1
// VARIABLE wide = 262143
#include "bpf.h"

struct fields {
	__u32 mode : 3;
	__s32 delta : 5;
	__u32 flag : 1;
	__u32 wide : 18;
};

struct fields fields;
__u32 mode, flag, wide, given = 13;
int delta;

SEC("cgroup/sysctl")
int data_bit_fields(struct bpf_sysctl *ctx)
{
	volatile struct fields *all = &fields;

	all->mode = given;
	all->delta = -3;
	all->flag = 1;
	all->wide = ~given | given;
	mode = all->mode;
	delta = all->delta;
	flag = all->flag;
	wide = all->wide;
	return 1;
}

LICENSE("GPL");
