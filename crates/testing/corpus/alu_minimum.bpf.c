// The smaller and the larger of two numbers, and one between bounds.
// READ kernel/domainname => *
// VARIABLE smaller = -4
// VARIABLE larger = 9
// VARIABLE between = 5
#include "bpf.h"

__s32 smaller, larger, between, a = 9, b = -4;

SEC("cgroup/sysctl")
int alu_minimum(struct bpf_sysctl *ctx)
{
	smaller = a < b ? a : b;
	larger = a > b ? a : b;
	between = a > 5 ? 5 : a < 0 ? 0 : a;
	return 1;
}

LICENSE("GPL");
