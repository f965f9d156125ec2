// The id of the cgroup, also as its own ancestor; level 0 is the root, which has id 1.
// READ kernel/domainname => *
// VARIABLE root = 1
// VARIABLE known = 1
// VARIABLE too_deep = 0
// SINCE 6.1
#include "bpf.h"

__u64 root, too_deep = 1;
__u32 known;

SEC("cgroup/sysctl")
int task_cgroup(struct bpf_sysctl *ctx)
{
	__u64 own = bpf_get_current_cgroup_id();

	root = bpf_get_current_ancestor_cgroup_id(0);
	too_deep = bpf_get_current_ancestor_cgroup_id(200);
	for (int level = 0; level < 10; level++)
		known |= bpf_get_current_ancestor_cgroup_id(level) == own;
	return 1;
}

LICENSE("GPL");
