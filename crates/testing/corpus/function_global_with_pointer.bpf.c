// A global function with a pointer, which it checks for NULL.
// READ kernel/domainname => *
// VARIABLE sum = 30
#include "bpf.h"

struct pair {
	__u32 left, right;
};

__u32 sum;

NOINLINE int add(const struct pair *pair)
{
	if (!pair)
		return 0;
	return pair->left + pair->right;
}

SEC("cgroup/sysctl")
int function_global_with_pointer(struct bpf_sysctl *ctx)
{
	struct pair pair = { 10, 20 };

	opaque(pair.left);
	sum = add(&pair);
	return 1;
}

LICENSE("GPL");
