// An open-coded iterator over numbers, which is three kernel functions (kfuncs).
// MODEL lacks "kernel function bpf_iter_num_new"
// READ kernel/domainname => *
// VARIABLE sum = 45
// SINCE 6.4
#include "bpf.h"

__u32 sum;

struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) WEAK KSYM;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) WEAK KSYM;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) WEAK KSYM;

SEC("cgroup/sysctl")
int loop_iterator(struct bpf_sysctl *ctx)
{
	struct bpf_iter_num it;
	int *number;

	bpf_iter_num_new(&it, 0, 10);
	while ((number = bpf_iter_num_next(&it)))
		sum += *number;
	bpf_iter_num_destroy(&it);
	return 1;
}

LICENSE("GPL");
