// A small structure as the result of an inline function, and as an argument.
// READ kernel/domainname => *
// VARIABLE low = 3
// VARIABLE high = 14
#include "bpf.h"

struct range {
	__u32 low, high;
};

__u32 low, high, numbers[4] = { 7, 3, 14, 9 };

static INLINE struct range widened(struct range range, __u32 number)
{
	if (number < range.low)
		range.low = number;
	if (number > range.high)
		range.high = number;
	return range;
}

SEC("cgroup/sysctl")
int function_returning_struct(struct bpf_sysctl *ctx)
{
	struct range range = { ~0u, 0 };

	for (int i = 0; i < 4; i++)
		range = widened(range, numbers[i]);
	low = range.low;
	high = range.high;
	return 1;
}

LICENSE("GPL");
