// A program takes its own errno back.
// READ kernel/domainname => *
// VARIABLE results = {-16, 0}
// SINCE 5.18
#include "bpf.h"

int results[2];

SEC("cgroup/sysctl")
int retval_undone(struct bpf_sysctl *ctx)
{
	bpf_set_retval(-EBUSY);
	results[0] = bpf_get_retval();
	bpf_set_retval(0);
	results[1] = bpf_get_retval();
	return 1;
}

LICENSE("GPL");
