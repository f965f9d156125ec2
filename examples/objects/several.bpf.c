/*
 * Several programs in one object: one that denies writes, one that hands on to another by a tail call, and one for
 * another hook.
 */
#include "hook.h"

int decide(struct bpf_sysctl *ctx);
int lost(struct bpf_sysctl *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct bpf_sysctl *));
} next SEC(".maps") = {
	.values = { [2] = (void *)&decide },
};

__u32 handed_on;

SEC("cgroup/sysctl")
int read_only(struct bpf_sysctl *ctx)
{
	return !ctx->write;
}

SEC("cgroup/sysctl")
int hand_on(struct bpf_sysctl *ctx)
{
	handed_on++;
	bpf_tail_call(ctx, &next, ctx->write ? 2 : 3);
	return 1;
}

SEC("cgroup/sysctl")
int decide(struct bpf_sysctl *ctx)
{
	char value[8] = {};

	handed_on += 100;
	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return value[0] != 'x';
}

SEC("cgroup/dev")
int device(void *ctx)
{
	return 1;
}

char _license[] SEC("license") = "GPL";
