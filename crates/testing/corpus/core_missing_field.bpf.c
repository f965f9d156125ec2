// A member that the kernel does not have, behind a check: the verifier never sees the access.
// READ kernel/domainname => *
// VARIABLE reached = 0
// VARIABLE passed = 1
// SINCE 6.1
// LACKS struct task_struct.does_not_exist
#include "bpf.h"
#include "task.h"

struct task_struct___invented {
	int does_not_exist;
} __attribute__((preserve_access_index));

__u32 reached, passed;

SEC("cgroup/sysctl")
int core_missing_field(struct bpf_sysctl *ctx)
{
	struct task_struct___invented *task = bpf_get_current_task_btf();

	if (field_exists(task->does_not_exist))
		reached = task->does_not_exist + 1;
	passed = 1;
	return 1;
}

LICENSE("GPL");
