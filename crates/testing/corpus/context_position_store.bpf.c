// A store to `file_pos` moves the access. With v4 it is one of an immediate.
// WRITE kernel/domainname "example\n" => 8
// READ kernel/domainname @3 => "example\n"
// WRITE kernel/domainname "other\n" @3 => 6
// READ kernel/domainname => "other\n"
#include "bpf.h"

SEC("cgroup/sysctl")
int context_position_store(struct bpf_sysctl *ctx)
{
	ctx->file_pos = 0;
	return 1;
}

LICENSE("GPL");
