// `__builtin_memmove` of an overlapping part.
// READ kernel/domainname => *
// VARIABLE text = "ababcdef"
#include "bpf.h"

char text[9] = "abcdefgh";

SEC("cgroup/sysctl")
int memory_move(struct bpf_sysctl *ctx)
{
	__builtin_memmove(text + 2, text, 6);
	return 1;
}

LICENSE("GPL");
