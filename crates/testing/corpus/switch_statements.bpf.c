// A switch over adjacent numbers, each with statements of its own, for which a compiler may emit a jump table.
// WRITE kernel/domainname "5" => 1
// WRITE kernel/domainname "0" => 1
// WRITE kernel/domainname "x" => 1
// VARIABLE counts = {1, 0, 0, 0, 0, 1}
// VARIABLE others = 1
#include "bpf.h"

__u32 counts[6], others;
char name[32], value[32];

SEC("cgroup/sysctl")
int switch_statements(struct bpf_sysctl *ctx)
{
	char first[4] = {};

	bpf_sysctl_get_new_value(ctx, first, sizeof(first));
	switch (first[0]) {
	case '0': counts[0]++; bpf_sysctl_get_name(ctx, name, 16, 0); break;
	case '1': counts[1]++; bpf_sysctl_get_name(ctx, name, 32, BPF_F_SYSCTL_BASE_NAME); break;
	case '2': counts[2]++; bpf_sysctl_get_current_value(ctx, value, 16); break;
	case '3': counts[3]++; bpf_sysctl_get_new_value(ctx, value, 32); break;
	case '4': counts[4]++; bpf_get_prandom_u32(); break;
	case '5': counts[5]++; bpf_ktime_get_ns(); break;
	default: others++;
	}
	return 1;
}

LICENSE("GPL");
