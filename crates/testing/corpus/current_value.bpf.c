// The value before a write, with the newline that the handler adds.
// WRITE kernel/domainname "first" => 5
// WRITE kernel/domainname "second\n" => 7
// VARIABLE value = "first\n"
// VARIABLE length = 6
#include "bpf.h"

char value[16];
int length;

SEC("cgroup/sysctl")
int current_value(struct bpf_sysctl *ctx)
{
	length = bpf_sysctl_get_current_value(ctx, value, sizeof(value));
	return 1;
}

LICENSE("GPL");
