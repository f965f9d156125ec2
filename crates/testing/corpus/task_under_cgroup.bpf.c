// Whether the process is below a cgroup in an array, which is empty: -EAGAIN; and -E2BIG behind its end.
// READ kernel/domainname => *
// VARIABLE results = {-11, -7}
// SINCE 6.12
#include "bpf.h"

long results[2];

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} cgroups SEC(".maps");

SEC("cgroup/sysctl")
int task_under_cgroup(struct bpf_sysctl *ctx)
{
	results[0] = bpf_current_task_under_cgroup(&cgroups, 0);
	results[1] = bpf_current_task_under_cgroup(&cgroups, 1);
	return 1;
}

LICENSE("GPL");
