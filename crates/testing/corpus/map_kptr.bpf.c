// A pointer to a task in a map (kptr), with a reference to it.
// MODEL lacks "values with a kptr"
// CLANG 15
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE found = 1
// SINCE 6.12
#include "bpf.h"
#include "task.h"

__u32 found;

struct element {
	struct task_struct __attribute__((btf_type_tag("kptr"))) *task;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} tasks SEC(".maps");

extern struct task_struct *bpf_task_acquire(struct task_struct *p) KSYM;
extern void bpf_task_release(struct task_struct *p) KSYM;

SEC("cgroup/sysctl")
int map_kptr(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;
	struct element *element = bpf_map_lookup_elem(&tasks, &zero);
	struct task_struct *task;

	if (!element)
		return 0;
	task = bpf_task_acquire(bpf_get_current_task_btf());
	if (!task)
		return 0;
	task = bpf_kptr_xchg(&element->task, task);
	if (task) {
		found++;
		bpf_task_release(task);
	}
	return 1;
}

LICENSE("GPL");
