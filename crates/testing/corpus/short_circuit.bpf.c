// Conditions of several parts, of which the later ones are not evaluated.
// WRITE kernel/domainname "yes" => 3
// WRITE kernel/domainname "no" => EPERM
// WRITE net/ipv4/ip_default_ttl "65" => 2
// VARIABLE evaluated = 2
#include "bpf.h"

__u32 evaluated;

static NOINLINE bool is_yes(struct bpf_sysctl *ctx)
{
	char value[8] = {};

	evaluated++;
	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	return value[0] == 'y' && value[1] == 'e' && value[2] == 's';
}

SEC("cgroup/sysctl")
int short_circuit(struct bpf_sysctl *ctx)
{
	char name[8] = {};

	bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	return name[0] == 'n' || (ctx->write && is_yes(ctx));
}

LICENSE("GPL");
