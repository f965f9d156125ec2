// Another value is written than the given one; the write returns its length.
// WRITE kernel/domainname "example\n" => 6
// READ kernel/domainname => "other\n"
// VARIABLE seen = "other\n"
// SINCE 6.18
#include "bpf.h"

char seen[16];

SEC("cgroup/sysctl")
int set_new_value(struct bpf_sysctl *ctx)
{
	char value[] = "other\n";

	if (!ctx->write)
		return 1;
	if (bpf_sysctl_set_new_value(ctx, value, sizeof(value) - 1))
		return 0;
	bpf_sysctl_get_new_value(ctx, seen, sizeof(seen));
	return 1;
}

LICENSE("GPL");
