// A new value has at most 4095 bytes.
// WRITE kernel/domainname "a" => 1
// READ kernel/domainname => "a\n"
// VARIABLE result = -7
#include "bpf.h"

char large[4096];
int result;

SEC("cgroup/sysctl")
int set_new_value_too_long(struct bpf_sysctl *ctx)
{
	if (ctx->write)
		result = bpf_sysctl_set_new_value(ctx, large, sizeof(large));
	return 1;
}

LICENSE("GPL");
