/*
 * Options of the kernel's configuration (kconfig), and weak functions and variables of the kernel that no kernel has.
 */
#include "kernel.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
extern unsigned short CONFIG_HZ __kconfig;
extern _Bool CONFIG_CGROUP_BPF __kconfig;
extern enum libbpf_tristate CONFIG_SYSCTL __kconfig;
extern char CONFIG_BPF_SYSCALL __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig;
extern int CONFIG_NO_SUCH_OPTION __kconfig __weak;

extern const void no_such_symbol __ksym __weak;
extern const int no_such_variable __ksym __weak;
extern int no_such_function(int) __ksym __weak;

__u32 version, hz, wrapper, cookie, cgroup_bpf, sysctl, bpf_syscall, absent_and_7;
char hostname[16];
__u64 addresses_and_7;

SEC("cgroup/sysctl")
int options(struct bpf_sysctl *ctx)
{
	version = LINUX_KERNEL_VERSION;
	wrapper = LINUX_HAS_SYSCALL_WRAPPER;
	cookie = LINUX_HAS_BPF_COOKIE;
	hz = CONFIG_HZ;
	cgroup_bpf = CONFIG_CGROUP_BPF;
	sysctl = CONFIG_SYSCTL;
	bpf_syscall = CONFIG_BPF_SYSCALL;
	absent_and_7 = CONFIG_NO_SUCH_OPTION + 7;
	for (int i = 0; i < 16; i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	return 1;
}

SEC("cgroup/sysctl")
int weak(struct bpf_sysctl *ctx)
{
	addresses_and_7 = (__u64)&no_such_symbol + (__u64)&no_such_variable + 7;
	if (no_such_function)
		return no_such_function(1) & 1;
	return 1;
}

char _license[] SEC("license") = "GPL";
