// A length that another helper has returned, and that comparisons have bounded: the value goes on doubled.
// WRITE kernel/domainname "abc" => 6
// READ kernel/domainname => "abcabc\n"
// WRITE kernel/domainname "abcdefghi" => EPERM
// SINCE 6.18
#include "bpf.h"

SEC("cgroup/sysctl")
int length_from_helper(struct bpf_sysctl *ctx)
{
	char value[24] = {};
	long length;

	if (!ctx->write)
		return 1;
	length = bpf_sysctl_get_new_value(ctx, value, 8);
	if (length < 1 || length > 8)
		return 0;
	if (bpf_sysctl_get_new_value(ctx, value + length, 9) < 0)
		return 0;
	return !bpf_sysctl_set_new_value(ctx, value, length * 2);
}

LICENSE("GPL");
