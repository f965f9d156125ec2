/*
 * Programs that reach what the kernel does not have. The rejection of each one names it.
 */
#include "kernel.h"

struct task_struct___other {
	int no_such_member;
} __attribute__((preserve_access_index));

struct no_such_struct {
	int member;
} __attribute__((preserve_access_index));

enum no_such_enum { NO_SUCH_VALUE = 3 };

extern int CONFIG_NO_SUCH_OPTION __kconfig;
extern const int no_such_variable __ksym;
extern int no_such_function(int) __ksym;
extern int no_such_weak_function(int) __ksym __weak;

__u64 result;

SEC("cgroup/sysctl")
int member(struct bpf_sysctl *ctx)
{
	result = (__u64)__builtin_preserve_access_index(&((struct task_struct___other *)0)->no_such_member);
	return 1;
}

SEC("cgroup/sysctl")
int whole_struct(struct bpf_sysctl *ctx)
{
	result = (__u64)__builtin_preserve_access_index(&((struct no_such_struct *)0)->member);
	return 1;
}

SEC("cgroup/sysctl")
int value(struct bpf_sysctl *ctx)
{
	result = enum_value(enum no_such_enum, NO_SUCH_VALUE);
	return 1;
}

SEC("cgroup/sysctl")
int option(struct bpf_sysctl *ctx)
{
	return CONFIG_NO_SUCH_OPTION & 1;
}

SEC("cgroup/sysctl")
int variable(struct bpf_sysctl *ctx)
{
	result = (__u64)&no_such_variable;
	return 1;
}

SEC("cgroup/sysctl")
int function(struct bpf_sysctl *ctx)
{
	return no_such_function(1) & 1;
}

SEC("cgroup/sysctl")
int weak_function(struct bpf_sysctl *ctx)
{
	return no_such_weak_function(1) & 1;
}

char _license[] SEC("license") = "GPL";
