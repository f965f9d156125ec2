/*
 * Memory limits of TCP: three numbers, which must ascend and stay within a limit. This holds for the current values
 * when they are read, and for the new ones when they are written.
 */
#include "hook.h"

const volatile unsigned long limit = 1UL << 32;

static NOINLINE int ascends(const char *value)
{
	unsigned long numbers[3] = {};
	int offset = 0;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		long length = bpf_strtoul(value + offset, 21, 0, &numbers[i]);

		if (length <= 0 || length > 20)
			return 0;
		offset += length & 0x1f;
		if (value[offset] != (i == 2 ? '\n' : '\t') && value[offset] != ' ' && value[offset] != 0)
			return 0;
	}
	return numbers[0] <= numbers[1] && numbers[1] <= numbers[2] && numbers[2] <= limit;
}

static int is_vector(struct bpf_sysctl *ctx)
{
	char name[32] = {};

	if (bpf_sysctl_get_name(ctx, name, sizeof(name), 0) < 0)
		return 0;
	return !bpf_strncmp(name, sizeof(name), "net/ipv4/tcp_mem") ||
	       !bpf_strncmp(name, sizeof(name), "net/ipv4/tcp_rmem");
}

SEC("cgroup/sysctl")
int vectors(struct bpf_sysctl *ctx)
{
	char value[96] = {};
	long length;

	if (!is_vector(ctx))
		return 1;
	length = ctx->write ? bpf_sysctl_get_new_value(ctx, value, 32)
			    : bpf_sysctl_get_current_value(ctx, value, 32);
	return length > 0 && ascends(value);
}

char _license[] SEC("license") = "GPL";
