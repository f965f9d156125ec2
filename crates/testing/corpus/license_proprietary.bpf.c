// A program without a GPL-compatible license may use what is not marked GPL.
// WRITE kernel/domainname "a" => EPERM
#include "bpf.h"

SEC("cgroup/sysctl")
int license_proprietary(struct bpf_sysctl *ctx)
{
	return !ctx->write;
}

LICENSE("Proprietary");
