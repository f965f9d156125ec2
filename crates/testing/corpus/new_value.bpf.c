// The value that is being written, as the writer gave it.
// WRITE net/ipv4/ip_default_ttl " 0x40\n" => 6
// VARIABLE value = " 0x40\n"
// VARIABLE length = 6
#include "bpf.h"

char value[16];
int length;

SEC("cgroup/sysctl")
int new_value(struct bpf_sysctl *ctx)
{
	length = bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return 1;
}

LICENSE("GPL");
