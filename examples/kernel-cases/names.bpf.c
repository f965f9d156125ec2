/*
 * The name of the knob: its last component, or all of it, and what is left of it in a buffer that is too short. Keeps
 * what the helper returned and what was in the buffer.
 */
#include "../objects/hook.h"

long returned;
char name[24];

#define KEEP(program, size, flags)                                        \
	SEC("cgroup/sysctl")                                              \
	int program(struct bpf_sysctl *ctx)                               \
	{                                                                 \
		__builtin_memset(name, 0, sizeof(name));                  \
		returned = bpf_sysctl_get_name(ctx, name, size, flags);   \
		return 1;                                                 \
	}

KEEP(base, 9, BPF_F_SYSCTL_BASE_NAME)
KEEP(base_cut, 8, BPF_F_SYSCTL_BASE_NAME)
KEEP(full, 18, 0)
KEEP(full_cut, 17, 0)
KEEP(full_cut_short, 7, 0)

char _license[] SEC("license") = "GPL";
