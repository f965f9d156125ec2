/*
 * Partial writes of kernel/domainname: one at a position other than 0 replaces the whole value.
 */
#include "hook.h"

SEC("cgroup/sysctl")
int whole(struct bpf_sysctl *ctx)
{
	const char replacement[] = "whole";

	if (!ctx->write || !ctx->file_pos)
		return 1;
	ctx->file_pos = 0;
	return bpf_sysctl_set_new_value(ctx, replacement, sizeof(replacement) - 1) == 0;
}
