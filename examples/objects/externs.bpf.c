/*
 * What is not in an object: options of the kernel's configuration, and functions and variables of the kernel.
 */
#include "kernel.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

struct bpf_iter_num {
	__u64 opaque[1];
};

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_CGROUP_BPF __kconfig;
extern enum libbpf_tristate CONFIG_SYSCTL __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig;
extern int CONFIG_NO_SUCH_OPTION __kconfig __weak;

extern const void init_task __ksym;
extern const void no_such_symbol __ksym __weak;
extern const int no_such_variable __ksym __weak;

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int no_such_function(int) __ksym __weak;
extern int no_such_function_either(int) __ksym;

__u32 version, hz, wrapper, cgroup_bpf, sysctl, absent = 1;
char hostname[16];
__u64 address, no_address = 1;
__u32 sum;

SEC("cgroup/sysctl")
int options(struct bpf_sysctl *ctx)
{
	version = LINUX_KERNEL_VERSION;
	wrapper = LINUX_HAS_SYSCALL_WRAPPER;
	hz = CONFIG_HZ;
	cgroup_bpf = CONFIG_CGROUP_BPF;
	sysctl = CONFIG_SYSCTL;
	absent = CONFIG_NO_SUCH_OPTION;
	for (int i = 0; i < 16; i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	/* The verifier knows the value, so that the rest is not reached. */
	if (CONFIG_NO_SUCH_OPTION)
		return no_such_function(1);
	return 1;
}

SEC("cgroup/sysctl")
int weak(struct bpf_sysctl *ctx)
{
	no_address = (__u64)&no_such_symbol + (__u64)&no_such_variable;
	if (no_such_function)
		return no_such_function(1) & 1;
	return 1;
}

SEC("cgroup/sysctl")
int symbols(struct bpf_sysctl *ctx)
{
	address = (__u64)&init_task;
	return 1;
}

SEC("cgroup/sysctl")
int iterate(struct bpf_sysctl *ctx)
{
	struct bpf_iter_num numbers;
	int *number;

	sum = 0;
	bpf_iter_num_new(&numbers, 0, 10);
	while ((number = bpf_iter_num_next(&numbers)))
		sum += *number;
	bpf_iter_num_destroy(&numbers);
	return 1;
}

SEC("cgroup/sysctl")
int missing_function(struct bpf_sysctl *ctx)
{
	return no_such_function_either(1) & 1;
}

char _license[] SEC("license") = "GPL";
