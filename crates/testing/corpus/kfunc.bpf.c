// Kernel functions (kfuncs): a critical section of RCU.
// MODEL lacks "kernel function bpf_rcu_read_lock"
// READ kernel/domainname => *
// VARIABLE ran = 1
// SINCE 6.2
#include "bpf.h"

extern void bpf_rcu_read_lock(void) KSYM;
extern void bpf_rcu_read_unlock(void) KSYM;

__u32 ran;

SEC("cgroup/sysctl")
int kfunc(struct bpf_sysctl *ctx)
{
	bpf_rcu_read_lock();
	ran = 1;
	bpf_rcu_read_unlock();
	return 1;
}

LICENSE("GPL");
