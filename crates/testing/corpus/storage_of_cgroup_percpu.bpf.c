// The same with a value for each CPU.
// READ kernel/domainname => *
// VARIABLE count = 1
#include "bpf.h"

__u64 count;

struct bpf_cgroup_storage_key {
	__u64 cgroup_inode_id;
	__u32 attach_type;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, __u64);
} storage SEC(".maps");

SEC("cgroup/sysctl")
int storage_of_cgroup_percpu(struct bpf_sysctl *ctx)
{
	__u64 *value = bpf_get_local_storage(&storage, 0);

	count = ++*value;
	return 1;
}

LICENSE("GPL");
