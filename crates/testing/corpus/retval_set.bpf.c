// Another errno than EPERM.
// READ kernel/domainname => -2
// WRITE kernel/domainname "a" => 1
// VARIABLE before = 0
// VARIABLE after = -2
// SINCE 5.18
#include "bpf.h"

int before, after;

SEC("cgroup/sysctl")
int retval_set(struct bpf_sysctl *ctx)
{
	if (ctx->write)
		return 1;
	before = bpf_get_retval();
	bpf_set_retval(-ENOENT);
	after = bpf_get_retval();
	return 0;
}

LICENSE("GPL");
