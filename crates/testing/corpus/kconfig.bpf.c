// The version and the configuration of the kernel.
// READ kernel/domainname => *
// VARIABLE version_is_known = 1
// VARIABLE has_cgroups = 1
// VARIABLE invented = 0
#include "bpf.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern int LINUX_KERNEL_VERSION KCONFIG;
extern enum libbpf_tristate CONFIG_CGROUP_BPF KCONFIG;
extern bool CONFIG_KNOBGATE_INVENTED KCONFIG WEAK;

__u32 version_is_known, has_cgroups, invented = 1;

SEC("cgroup/sysctl")
int kconfig(struct bpf_sysctl *ctx)
{
	version_is_known = LINUX_KERNEL_VERSION >= 5 << 16;
	has_cgroups = CONFIG_CGROUP_BPF == TRI_YES;
	invented = CONFIG_KNOBGATE_INVENTED;
	return 1;
}

LICENSE("GPL");
