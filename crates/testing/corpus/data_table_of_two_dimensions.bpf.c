// An index of two dimensions, both from a value, both bounded.
// WRITE kernel/domainname "21" => 2
// VARIABLE found = 8
#include "bpf.h"

__u32 found, table[3][3] = { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } };

SEC("cgroup/sysctl")
int data_table_of_two_dimensions(struct bpf_sysctl *ctx)
{
	char value[4] = {};
	__u32 row, column;

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	row = value[0] - '0';
	column = value[1] - '0';
	if (row > 2 || column > 2)
		return 0;
	found = table[row][column];
	return 1;
}

LICENSE("GPL");
