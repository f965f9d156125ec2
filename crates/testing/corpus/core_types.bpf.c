// Whether the kernel has a type, and how large it is.
// READ kernel/domainname => *
// VARIABLE task = 1
// VARIABLE invented = 0
// VARIABLE size = 8
// LACKS struct invented
#include "bpf.h"
#include "task.h"

struct invented {
	int member;
};

struct bpf_iter_num {
	__u64 opaque[1];
};

__u32 task, invented = 1, size;

SEC("cgroup/sysctl")
int core_types(struct bpf_sysctl *ctx)
{
	task = __builtin_preserve_type_info(*(struct task_struct *)0, BPF_TYPE_EXISTS);
	invented = __builtin_preserve_type_info(*(struct invented *)0, BPF_TYPE_EXISTS);
	size = __builtin_preserve_type_info(*(struct ns_common *)0, BPF_TYPE_SIZE) > 0 ? 8 : 0;
	return 1;
}

LICENSE("GPL");
