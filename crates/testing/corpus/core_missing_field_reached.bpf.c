// The same without a check.
// KERNEL rejects "does_not_exist"
// MODEL lacks "struct task_struct___invented.does_not_exist"
#include "bpf.h"
#include "task.h"

struct task_struct___invented {
	int does_not_exist;
} __attribute__((preserve_access_index));

SEC("cgroup/sysctl")
int core_missing_field_reached(struct bpf_sysctl *ctx)
{
	struct task_struct___invented *task = bpf_get_current_task_btf();

	return task->does_not_exist & 1;
}

LICENSE("GPL");
