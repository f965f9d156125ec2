#include "hook.h"

__u32 denied;

SEC("cgroup/sysctl")
int limit(struct bpf_sysctl *ctx)
{
	char name[32] = {}, value[16] = {};
	unsigned long backlog;

	if (!ctx->write)
		return 1;
	bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	if (bpf_strncmp(name, sizeof(name), "net/core/somaxconn"))
		return 1;
	/* A value that does not fit gives -E2BIG, one that is not a number -EINVAL. */
	if (bpf_sysctl_get_new_value(ctx, value, sizeof(value)) >= 0 &&
	    bpf_strtoul(value, sizeof(value), 0, &backlog) > 0 && backlog <= 65535)
		return 1;
	denied++;
	return 0;
}

char _license[] SEC("license") = "GPL";
