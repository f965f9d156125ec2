// A program has one storage of each type for its attachments, so that two of one type are rejected.
// KERNEL rejects "only one cgroup storage of each type is allowed"
// MODEL rejects "only one cgroup storage of each type is allowed"
#include "bpf.h"

#define STORAGE                                          \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE); \
		__type(key, __u64);                      \
		__type(value, __u64);                    \
	}

STORAGE first SEC(".maps");
STORAGE second SEC(".maps");

SEC("cgroup/sysctl")
int storage_twice(struct bpf_sysctl *ctx)
{
	__u64 *first_count = bpf_get_local_storage(&first, 0);
	__u64 *second_count = bpf_get_local_storage(&second, 0);

	return ++*first_count == ++*second_count;
}

LICENSE("GPL");
