// Variables with an initial value.
// READ kernel/domainname => *
// VARIABLE counter = 101
// VARIABLE text = "after"
#include "bpf.h"

__u32 counter = 100;
char text[8] = "before";

SEC("cgroup/sysctl")
int data_initialized(struct bpf_sysctl *ctx)
{
	counter++;
	__builtin_memcpy(text, "after", 6);
	return 1;
}

LICENSE("GPL");
