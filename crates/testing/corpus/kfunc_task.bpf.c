// A kernel function that returns a reference to a task, which the program has to release.
// MODEL lacks "kernel function bpf_task_from_pid"
// READ kernel/domainname => *
// VARIABLE is_current = 1
// SINCE 6.12
#include "bpf.h"
#include "task.h"

extern struct task_struct *bpf_task_from_pid(int pid) KSYM;
extern void bpf_task_release(struct task_struct *p) KSYM;

__u32 is_current;

SEC("cgroup/sysctl")
int kfunc_task(struct bpf_sysctl *ctx)
{
	int pid = (int)bpf_get_current_pid_tgid();
	struct task_struct *task = bpf_task_from_pid(pid);

	if (task) {
		is_current = task->pid == pid;
		bpf_task_release(task);
	}
	return 1;
}

LICENSE("GPL");
