// Storage of the task's cgroup, which is found by CO-RE.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE count = 2
// SINCE 6.2
// MODEL lacks "maps of type cgrp_storage"
#include "bpf.h"
#include "task.h"

__u64 count;

struct {
	__uint(type, BPF_MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

SEC("cgroup/sysctl")
int storage_of_cgroup(struct bpf_sysctl *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 *value =
		bpf_cgrp_storage_get(&storage, task->cgroups->dfl_cgrp, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (value)
		count = ++*value;
	return 1;
}

LICENSE("GPL");
