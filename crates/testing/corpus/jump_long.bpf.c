// A jump with an offset of 32 bits.
// CPU v4
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => EPERM
// SINCE 6.6
#include "bpf.h"

SEC("cgroup/sysctl")
int jump_long(struct bpf_sysctl *ctx)
{
	if (!ctx->write)
		asm volatile goto("gotol %l[allow]" : : : : allow);
	return 0;
allow:
	return 1;
}

LICENSE("GPL");
