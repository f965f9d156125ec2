// Eight frames, which is the most before Linux 7.2.
// READ kernel/domainname => *
// VARIABLE depth = 8
#include "bpf.h"

__u32 depth;

#define LEVEL(name, next)			\
	static NOINLINE int name(__u32 n)	\
	{					\
		opaque(n);			\
		return next(n + 1) + 1;		\
	}

static NOINLINE int level_8(__u32 n)
{
	opaque(n);
	return n == 8;
}

LEVEL(level_7, level_8)
LEVEL(level_6, level_7)
LEVEL(level_5, level_6)
LEVEL(level_4, level_5)
LEVEL(level_3, level_4)
LEVEL(level_2, level_3)

SEC("cgroup/sysctl")
int function_depth(struct bpf_sysctl *ctx)
{
	depth = level_2(2) + 1;
	return 1;
}

LICENSE("GPL");
