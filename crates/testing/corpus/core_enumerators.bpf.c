// The value that an enumerator has in the kernel, and one that it has not.
// READ kernel/domainname => *
// VARIABLE value = 18
// VARIABLE invented = 0
// MODEL rejects "does not model this type"
#include "bpf.h"
#include "task.h"

enum bpf_attach_type {
	BPF_CGROUP_SYSCTL = 1000,
	BPF_INVENTED = 2000,
};

__u32 value, invented = 1;

SEC("cgroup/sysctl")
int core_enumerators(struct bpf_sysctl *ctx)
{
	value = __builtin_preserve_enum_value(*(enum bpf_attach_type *)BPF_CGROUP_SYSCTL, BPF_ENUMVAL_VALUE);
	invented = __builtin_preserve_enum_value(*(enum bpf_attach_type *)BPF_INVENTED, BPF_ENUMVAL_EXISTS);
	return 1;
}

LICENSE("GPL");
