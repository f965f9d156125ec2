// Storage of the task that makes the access.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE count = 2
// SINCE 6.16
// MODEL lacks "maps of type task_storage"
#include "bpf.h"

__u64 count;

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

SEC("cgroup/sysctl")
int storage_of_task(struct bpf_sysctl *ctx)
{
	__u64 *value =
		bpf_task_storage_get(&storage, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (value)
		count = ++*value;
	return 1;
}

LICENSE("GPL");
