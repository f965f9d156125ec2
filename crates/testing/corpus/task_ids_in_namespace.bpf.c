// The ids in a PID namespace that is not there: -EINVAL.
// READ kernel/domainname => *
// VARIABLE result = -22
// SINCE 6.12
#include "bpf.h"

long result;

SEC("cgroup/sysctl")
int task_ids_in_namespace(struct bpf_sysctl *ctx)
{
	struct bpf_pidns_info info = {};

	result = bpf_get_ns_current_pid_tgid(0, 1, &info, sizeof(info));
	return 1;
}

LICENSE("GPL");
