// A global function that gets the context.
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => EPERM
#include "bpf.h"

NOINLINE int is_read(struct bpf_sysctl *ctx)
{
	return !ctx->write;
}

SEC("cgroup/sysctl")
int function_global_with_context(struct bpf_sysctl *ctx)
{
	return is_read(ctx) & 1;
}

LICENSE("GPL");
