// An index of two dimensions, both from a value, both masked.
// WRITE kernel/domainname "21" => 2
// VARIABLE found = 8
#include "bpf.h"

__u32 found, table[4][4] = { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } };

SEC("cgroup/sysctl")
int data_table_of_two_dimensions(struct bpf_sysctl *ctx)
{
	char value[4] = {};

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	found = table[(value[0] - '0') & 3][(value[1] - '0') & 3];
	return 1;
}

LICENSE("GPL");
