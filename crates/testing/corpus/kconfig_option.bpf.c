// Whether the kernel was built with an option, which the model of a kernel does not know.
// MODEL lacks "the option CONFIG_CGROUP_BPF (kconfig)"
// READ kernel/domainname => *
// VARIABLE has_cgroups = 1
#include "bpf.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern enum libbpf_tristate CONFIG_CGROUP_BPF KCONFIG;

__u32 has_cgroups;

SEC("cgroup/sysctl")
int kconfig_option(struct bpf_sysctl *ctx)
{
	has_cgroups = CONFIG_CGROUP_BPF == TRI_YES;
	return 1;
}

LICENSE("GPL");
