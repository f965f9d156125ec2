// A helper that is marked GPL needs a compatible license.
// KERNEL rejects "cannot call GPL-restricted function from non-GPL compatible program"
// MODEL rejects "cannot call GPL-restricted function from non-GPL compatible program"
#include "bpf.h"

SEC("cgroup/sysctl")
int license_required(struct bpf_sysctl *ctx)
{
	char format[] = "text";

	bpf_trace_printk(format, sizeof(format));
	return 1;
}

LICENSE("Proprietary");
