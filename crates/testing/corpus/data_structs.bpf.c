// An array of structures, some members of which have an initial value.
// WRITE net/ipv4/ip_default_ttl "65" => 2
// VARIABLE hits = 1
// WRITE kernel/domainname "a" => 1
// VARIABLE hits = 1
#include "bpf.h"

struct rule {
	char name[28];
	__u32 limit;
};

const struct rule rules[] = {
	{ "kernel/hostname", 1 },
	{ "net/ipv4/ip_default_ttl", 2 },
	{ "net/core/somaxconn", 3 },
};
__u32 hits;

SEC("cgroup/sysctl")
int data_structs(struct bpf_sysctl *ctx)
{
	char name[28] = {};

	bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	for (int i = 0; i < 3; i++) {
		bool same = true;

		for (int at = 0; at < sizeof(name); at++)
			same &= rules[i].name[at] == name[at];
		if (same && rules[i].limit == 2)
			hits++;
	}
	return 1;
}

LICENSE("GPL");
