// Storage of the cgroup that the program is attached to, as it was before Linux 6.2.
// READ kernel/domainname => *
// READ kernel/domainname => *
// VARIABLE count = 2
#include "bpf.h"

__u64 count;

struct bpf_cgroup_storage_key {
	__u64 cgroup_inode_id;
	__u32 attach_type;
};

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, __u64);
} storage SEC(".maps");

SEC("cgroup/sysctl")
int storage_of_cgroup_old(struct bpf_sysctl *ctx)
{
	__u64 *value = bpf_get_local_storage(&storage, 0);

	count = ++*value;
	return 1;
}

LICENSE("GPL");
