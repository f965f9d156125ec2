// A switch whose results the compiler can take from a table in `.rodata`.
// WRITE kernel/domainname "d" => 1
// VARIABLE chosen = 907
// WRITE kernel/domainname "z" => 1
// VARIABLE chosen = 0
#include "bpf.h"

__u32 chosen;

static NOINLINE __u32 number_of(__u32 letter)
{
	/* See switch_dense. */
	opaque(letter);
	switch (letter) {
	case 'a': return 1001;
	case 'b': return 52;
	case 'c': return 333;
	case 'd': return 907;
	case 'e': return 20;
	case 'f': return 4;
	case 'g': return 70000;
	}
	return 0;
}

SEC("cgroup/sysctl")
int switch_lookup(struct bpf_sysctl *ctx)
{
	char value[4] = {};

	bpf_sysctl_get_new_value(ctx, value, sizeof(value));
	chosen = number_of(value[0]);
	return 1;
}

LICENSE("GPL");
