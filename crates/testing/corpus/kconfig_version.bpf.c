// The version of the kernel, and an option that it does not have.
// READ kernel/domainname => *
// VARIABLE version_is_known = 1
// VARIABLE invented = 0
// VARIES .kconfig
#include "bpf.h"

extern int LINUX_KERNEL_VERSION KCONFIG;
extern bool CONFIG_KNOBGATE_INVENTED KCONFIG WEAK;

__u32 version_is_known, invented = 1;

SEC("cgroup/sysctl")
int kconfig_version(struct bpf_sysctl *ctx)
{
	version_is_known = LINUX_KERNEL_VERSION >= 5 << 16;
	invented = CONFIG_KNOBGATE_INVENTED;
	return 1;
}

LICENSE("GPL");
