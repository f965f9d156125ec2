// The name of the task's group leader, as a string: the result is its length with the NUL.
// READ kernel/domainname => *
// VARIABLE comm = "accessor"
// VARIABLE length = 9
// SINCE 6.1
#include "bpf.h"
#include "task.h"

char comm[16];
long length;

SEC("cgroup/sysctl")
int task_read_string(struct bpf_sysctl *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task(), *leader = NULL;

	read_member(&leader, task, group_leader);
	length = bpf_probe_read_kernel_str(comm, sizeof(comm), __builtin_preserve_access_index(&leader->comm));
	return 1;
}

LICENSE("GPL");
