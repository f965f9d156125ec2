/*
 * What a program reads of the context, and what it may write. `write` is 1 for a write and 0 for a read; `file_pos` is the
 * position of the descriptor, and the only member that can be changed.
 */
#include "../objects/hook.h"

SEC("cgroup/sysctl")
int allow(struct bpf_sysctl *ctx)
{
	return 1;
}

SEC("cgroup/sysctl")
int deny(struct bpf_sysctl *ctx)
{
	return 0;
}

SEC("cgroup/sysctl")
int deny_writes(struct bpf_sysctl *ctx)
{
	return ctx->write != 1;
}

SEC("cgroup/sysctl")
int change_write(struct bpf_sysctl *ctx)
{
	ctx->write = 0;
	return 1;
}

SEC("cgroup/sysctl")
int only_at_3(struct bpf_sysctl *ctx)
{
	return ctx->file_pos == 3;
}

/* The lowest byte of the position alone. */
SEC("cgroup/sysctl")
int only_at_4(struct bpf_sysctl *ctx)
{
	return *(volatile __u8 *)&ctx->file_pos == 4;
}

/* The reader starts after the first two bytes. */
SEC("cgroup/sysctl")
int skip_two(struct bpf_sysctl *ctx)
{
	ctx->file_pos = 2;
	return 1;
}

char _license[] SEC("license") = "GPL";
