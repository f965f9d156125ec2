// Which members the kernel's structures have.
// READ kernel/domainname => *
// VARIABLE comm = 1
// VARIABLE invented = 0
// VARIABLE size = 16
// LACKS struct task_struct.does_not_exist
#include "bpf.h"
#include "task.h"

struct task_struct___invented {
	int does_not_exist;
} __attribute__((preserve_access_index));

__u32 comm, invented = 1, size;

SEC("cgroup/sysctl")
int core_field_exists(struct bpf_sysctl *ctx)
{
	struct task_struct *task = NULL;
	struct task_struct___invented *other = NULL;

	comm = field_exists(task->comm);
	invented = field_exists(other->does_not_exist);
	size = field_size(task->comm);
	return 1;
}

LICENSE("GPL");
