// An exception: bpf_throw ends the program, whose result is its argument.
// MODEL lacks "kernel function bpf_throw"
// WRITE kernel/domainname "a" => 1
// READ kernel/domainname => EPERM
// SINCE 6.12
#include "bpf.h"

extern void bpf_throw(__u64 cookie) KSYM;

SEC("cgroup/sysctl")
int exception(struct bpf_sysctl *ctx)
{
	if (!ctx->write)
		bpf_throw(0);
	return 1;
}

LICENSE("GPL");
