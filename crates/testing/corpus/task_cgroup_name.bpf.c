// The name of the task's cgroup, through four pointers.
// READ kernel/domainname => *
// VARIABLE named = 1
// SINCE 6.1
#include "bpf.h"
#include "task.h"

__u32 named;

SEC("cgroup/sysctl")
int task_cgroup_name(struct bpf_sysctl *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	char name[64] = {};

	named = bpf_probe_read_kernel_str(name, sizeof(name), task->cgroups->dfl_cgrp->kn->name) > 1;
	return 1;
}

LICENSE("GPL");
