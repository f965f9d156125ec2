// A switch over numbers that are far from each other.
// WRITE kernel/domainname "c" => 1
// VARIABLE chosen = 3
// WRITE kernel/domainname "a\n" => 2
// VARIABLE chosen = 1
#include "bpf.h"

__u32 chosen;

SEC("cgroup/sysctl")
int switch_sparse(struct bpf_sysctl *ctx)
{
	__u32 value = 0;

	bpf_sysctl_get_new_value(ctx, (char *)&value, sizeof(value));
	switch (value) {
	case 'a' | '\n' << 8: chosen = 1; break;
	case 'b': chosen = 2; break;
	case 'c': chosen = 3; break;
	case 0x64646464: chosen = 4; break;
	default: chosen = 5;
	}
	return 1;
}

LICENSE("GPL");
