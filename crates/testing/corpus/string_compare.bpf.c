// `bpf_strncmp` before, at and after a string.
// READ kernel/domainname => *
// VARIABLE signs = {-1, 0, 1, 0}
// SINCE 5.17
#include "bpf.h"

int signs[4];

static INLINE int sign(long number)
{
	return number < 0 ? -1 : number > 0;
}

SEC("cgroup/sysctl")
int string_compare(struct bpf_sysctl *ctx)
{
	char a[8] = "alpha", b[8] = "beta", c[8] = "gamma", long_b[8] = "betamax";

	signs[0] = sign(bpf_strncmp(a, sizeof(a), "beta"));
	signs[1] = sign(bpf_strncmp(b, sizeof(b), "beta"));
	signs[2] = sign(bpf_strncmp(c, sizeof(c), "beta"));
	signs[3] = sign(bpf_strncmp(long_b, 4, "beta"));
	return 1;
}

LICENSE("GPL");
