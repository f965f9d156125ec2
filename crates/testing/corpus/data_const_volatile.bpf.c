// Configuration: constants that a loader can set, here with the values that the object has.
// READ kernel/domainname => *
// VARIABLE seen = 7
// WRITE kernel/domainname "a" => EPERM
#include "bpf.h"

const volatile __u32 limit = 7;
const volatile bool only_reads = true;
__u32 seen;

SEC("cgroup/sysctl")
int data_const_volatile(struct bpf_sysctl *ctx)
{
	seen = limit;
	return !only_reads || !ctx->write;
}

LICENSE("GPL");
