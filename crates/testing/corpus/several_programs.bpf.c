// An object with several programs, of which one is taken.
// PROGRAM deny_writes
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => EPERM
#include "bpf.h"

SEC("cgroup/sysctl")
int deny_reads(struct bpf_sysctl *ctx)
{
	return ctx->write & 1;
}

SEC("cgroup/sysctl")
int deny_writes(struct bpf_sysctl *ctx)
{
	return !ctx->write;
}

LICENSE("GPL");
