// An errno denies although the program returns 1.
// READ kernel/domainname => -16
// SINCE 5.18
#include "bpf.h"

SEC("cgroup/sysctl")
int retval_without_denial(struct bpf_sysctl *ctx)
{
	bpf_set_retval(-EBUSY);
	return 1;
}

LICENSE("GPL");
