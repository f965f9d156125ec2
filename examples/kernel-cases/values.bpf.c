/*
 * The value that the knob has, and the one that is written: in buffers that are larger, just large enough and too short.
 * Keeps what the helper returned and what was in the buffer.
 */
#include "../objects/hook.h"

long returned;
char value[24] = "#######################";

#define KEEP(program, helper, size)                           \
	SEC("cgroup/sysctl")                                  \
	int program(struct bpf_sysctl *ctx)                   \
	{                                                     \
		returned = helper(ctx, value, size);          \
		return 1;                                     \
	}

KEEP(current_8, bpf_sysctl_get_current_value, 8)
KEEP(current_7, bpf_sysctl_get_current_value, 7)
KEEP(current_6, bpf_sysctl_get_current_value, 6)
KEEP(new_4, bpf_sysctl_get_new_value, 4)
KEEP(new_3, bpf_sysctl_get_new_value, 3)
KEEP(new_24, bpf_sysctl_get_new_value, 24)

/* Replaces what is written. */
SEC("cgroup/sysctl")
int replace(struct bpf_sysctl *ctx)
{
	returned = bpf_sysctl_set_new_value(ctx, "600\n", 4);
	return 1;
}

char _license[] SEC("license") = "GPL";
