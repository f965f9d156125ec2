/*
 * Two programs: the verifier accepts the one, and rejects the other.
 */
#include "hook.h"

SEC("cgroup/sysctl")
int right(struct bpf_sysctl *ctx)
{
	char value[8] = {};

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return value[0] != 'x';
}

/* The position can be anything. */
SEC("cgroup/sysctl")
int wrong(struct bpf_sysctl *ctx)
{
	char value[8] = {};

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return value[ctx->file_pos] != 'x';
}

char _license[] SEC("license") = "GPL";
