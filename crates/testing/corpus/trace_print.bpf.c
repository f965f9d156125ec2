// `bpf_trace_printk` and `bpf_trace_vprintk`, which return the length.
// READ kernel/domainname => *
// VARIABLE lengths = {12, 7}
// SINCE 5.16
#include "bpf.h"

long lengths[2];

SEC("cgroup/sysctl")
int trace_print(struct bpf_sysctl *ctx)
{
	static const char format[] = "write %d of %d", many[] = "%d %d %d %d";
	__u64 arguments[] = { 1, 2, 3, 4 };

	lengths[0] = bpf_trace_printk(format, sizeof(format), ctx->write, 2);
	lengths[1] = bpf_trace_vprintk(many, sizeof(many), arguments, sizeof(arguments));
	return 1;
}

LICENSE("GPL");
