// A helper for programs of another type.
// KERNEL rejects "program of this type cannot use helper"
// MODEL rejects "program of this type cannot use helper"
#include "bpf.h"

static long (*const bpf_get_attach_cookie)(void *ctx) = (void *)174;

SEC("cgroup/sysctl")
int helper_of_other_types(struct bpf_sysctl *ctx)
{
	return bpf_get_attach_cookie(ctx) == 0;
}

LICENSE("GPL");
