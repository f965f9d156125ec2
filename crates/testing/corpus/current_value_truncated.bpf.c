// A buffer that is too short for the value, and one that has exactly its length.
// WRITE kernel/domainname "example\n" => 8
// READ kernel/domainname => "example\n"
// VARIABLE value = "exa"
// VARIABLE exact = "example"
// VARIABLE results = {-7, -7}
#include "bpf.h"

char value[4], exact[8];
int results[2];

SEC("cgroup/sysctl")
int current_value_truncated(struct bpf_sysctl *ctx)
{
	results[0] = bpf_sysctl_get_current_value(ctx, value, sizeof(value));
	results[1] = bpf_sysctl_get_current_value(ctx, exact, sizeof(exact));
	return 1;
}

LICENSE("GPL");
