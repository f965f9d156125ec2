// A switch over adjacent numbers, of which newer compilers make a table of results.
// WRITE kernel/domainname "5" => 1
// VARIABLE chosen = 23
// WRITE kernel/domainname "0" => 1
// VARIABLE chosen = 3
// WRITE kernel/domainname "x" => 1
// VARIABLE chosen = 1
#include "bpf.h"

__u32 chosen;

SEC("cgroup/sysctl")
int switch_dense(struct bpf_sysctl *ctx)
{
	char value[4] = {};
	__u32 letter;

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	/* LLVM 22 would otherwise compare a copy of the index, with v4, and the verifier does not know that they are equal. */
	letter = value[0];
	opaque(letter);
	switch (letter) {
	case '0': chosen = 3; break;
	case '1': chosen = 5; break;
	case '2': chosen = 7; break;
	case '3': chosen = 11; break;
	case '4': chosen = 19; break;
	case '5': chosen = 23; break;
	case '6': chosen = 31; break;
	case '7': chosen = 43; break;
	default: chosen = 1;
	}
	return 1;
}

LICENSE("GPL");
