// The address of a symbol of the kernel, and of one that it does not have.
// MODEL lacks "the variable schedule (ksym)"
// READ kernel/domainname => *
// VARIABLE known = 1
// VARIABLE invented = 0
#include "bpf.h"

extern const void schedule KSYM;
extern const void knobgate_invented KSYM WEAK;

__u32 known, invented = 1;

SEC("cgroup/sysctl")
int ksym(struct bpf_sysctl *ctx)
{
	const void *address = &schedule;

	opaque(address);
	known = address != NULL;
	invented = &knobgate_invented != NULL;
	return 1;
}

LICENSE("GPL");
