// The same by plain loads, through a pointer with a type.
// READ kernel/domainname => *
// VARIABLE same_process = 1
// VARIABLE has_parent = 1
// VARIABLE has_network = 1
// SINCE 6.1
#include "bpf.h"
#include "task.h"

__u32 same_process, has_parent, has_network;

SEC("cgroup/sysctl")
int task_pointer(struct bpf_sysctl *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	same_process = task->tgid == bpf_get_current_pid_tgid() >> 32;
	has_parent = task->real_parent->tgid != task->tgid;
	has_network = task->nsproxy->net_ns->ns.inum != 0;
	return 1;
}

LICENSE("GPL");
