// The task's name and ids by `bpf_probe_read_kernel`, at offsets that are relocated (CO-RE).
// READ kernel/domainname => *
// VARIABLE comm = "accessor"
// VARIABLE same_process = 1
// SINCE 6.1
#include "bpf.h"
#include "task.h"

char comm[16];
__u32 same_process;

SEC("cgroup/sysctl")
int task_read(struct bpf_sysctl *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	int tgid = 0;

	read_member(&comm, task, comm);
	read_member(&tgid, task, tgid);
	same_process = tgid == bpf_get_current_pid_tgid() >> 32;
	return 1;
}

LICENSE("GPL");
