// Clocks that do not go back.
// READ kernel/domainname => *
// VARIABLE forward = 1
// SINCE 6.1
#include "bpf.h"

__u32 forward;

SEC("cgroup/sysctl")
int clocks(struct bpf_sysctl *ctx)
{
	__u64 coarse = bpf_ktime_get_coarse_ns(), now = bpf_ktime_get_ns(), boot = bpf_ktime_get_boot_ns();

	forward = coarse <= now && now <= boot && now <= bpf_ktime_get_ns() && bpf_ktime_get_tai_ns() > now &&
		  bpf_jiffies64();
	return 1;
}

LICENSE("GPL");
