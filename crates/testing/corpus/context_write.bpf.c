// The context tells reads from writes.
// READ kernel/domainname => *
// WRITE kernel/domainname "a\n" => 2
// WRITE kernel/domainname "b" => 1
// VARIABLE reads = 1
// VARIABLE writes = 2
#include "bpf.h"

__u32 reads, writes;

SEC("cgroup/sysctl")
int context_write(struct bpf_sysctl *ctx)
{
	if (ctx->write)
		writes++;
	else
		reads++;
	return 1;
}

LICENSE("GPL");
