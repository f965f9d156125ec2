/*
 * Functions and variables of the kernel (kfuncs and ksyms), which only the running kernel has.
 */
#include "kernel.h"

struct bpf_iter_num {
	__u64 opaque[1];
};

struct rq {
	int cpu;
} __attribute__((preserve_access_index));

extern const void schedule __ksym;
extern const struct rq runqueues __ksym;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy___twice(struct bpf_iter_num *it) __ksym __weak;

__u64 address, typed_address;
__u32 sum;

SEC("cgroup/sysctl")
int symbols(struct bpf_sysctl *ctx)
{
	address = (__u64)&schedule;
	return 1;
}

SEC("cgroup/sysctl")
int variable(struct bpf_sysctl *ctx)
{
	typed_address = (__u64)&runqueues;
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
	if (bpf_iter_num_destroy___twice)
		bpf_iter_num_destroy___twice(&numbers);
	else
		bpf_iter_num_destroy(&numbers);
	return 1;
}

char _license[] SEC("license") = "GPL";
