/*
 * Programs that need the kernel, or something that is not supported: the error for each one names it.
 */
#include "hook.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, 1);
} pinned SEC(".maps");

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

extern int bpf_kernel_function(int) __attribute__((section(".ksyms")));
extern const int CONFIG_HZ __attribute__((section(".kconfig")));
int *pointer = (int *)&pinned;

static __u32 key;

SEC("cgroup/sysctl")
int map_of_maps(struct bpf_sysctl *ctx)
{
	return !bpf_map_lookup_elem(&outer, &key);
}

SEC("cgroup/sysctl")
int pinned_map(struct bpf_sysctl *ctx)
{
	return !bpf_map_lookup_elem(&pinned, &key);
}

SEC("cgroup/sysctl")
int kfunc(struct bpf_sysctl *ctx)
{
	return bpf_kernel_function(1) > 0;
}

SEC("cgroup/sysctl")
int kconfig(struct bpf_sysctl *ctx)
{
	return CONFIG_HZ == 100;
}

SEC("cgroup/sysctl")
int layout(struct bpf_sysctl *ctx)
{
	return ((struct task_struct *)(void *)ctx)->pid & 1;
}

SEC("cgroup/sysctl")
int address(struct bpf_sysctl *ctx)
{
	return *(volatile __u64 *)&pointer & 1;
}
