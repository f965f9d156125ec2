// User, group, process and thread.
// READ kernel/domainname => *
// VARIABLE user = 0
// VARIABLE group = 0
// VARIABLE main_thread = 1
// SINCE 6.1
#include "bpf.h"

__u32 user = 1, group = 1, main_thread;

SEC("cgroup/sysctl")
int task_ids(struct bpf_sysctl *ctx)
{
	__u64 ids = bpf_get_current_uid_gid(), threads = bpf_get_current_pid_tgid();

	user = ids;
	group = ids >> 32;
	main_thread = threads >> 32 == (__u32)threads && (__u32)threads;
	return 1;
}

LICENSE("GPL");
