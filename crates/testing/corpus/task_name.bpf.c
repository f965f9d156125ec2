// The name of the process.
// READ kernel/domainname => *
// VARIABLE comm = "accessor"
// SINCE 6.1
#include "bpf.h"

char comm[16];

SEC("cgroup/sysctl")
int task_name(struct bpf_sysctl *ctx)
{
	bpf_get_current_comm(comm, sizeof(comm));
	return 1;
}

LICENSE("GPL");
