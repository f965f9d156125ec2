// A variable return value, which a comparison has bounded.
// WRITE kernel/domainname "a" => 1
// WRITE kernel/domainname "bb" => EPERM
// WRITE kernel/domainname "c" => 1
#include "bpf.h"

__u32 calls;

SEC("cgroup/sysctl")
int return_variable(struct bpf_sysctl *ctx)
{
	__u32 verdict = ++calls % 2;

	if (verdict > 1)
		return 0;
	return verdict;
}

LICENSE("GPL");
