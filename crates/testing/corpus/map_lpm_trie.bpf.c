// A trie in which the longest prefix counts.
// WRITE kernel/domainname "a" => 1
// VARIABLE matched = 1
// WRITE net/ipv4/ip_default_ttl "65" => 2
// VARIABLE matched = 2
// WRITE net/core/somaxconn "100" => 3
// VARIABLE matched = 0
// ENTRIES prefixes = 2
#include "bpf.h"

struct prefix {
	__u32 bits;
	char name[28];
};

__u32 matched;

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

SEC("cgroup/sysctl")
int map_lpm_trie(struct bpf_sysctl *ctx)
{
	struct prefix kernel = { 7 * 8, "kernel/" }, ipv4 = { 9 * 8, "net/ipv4/" }, key = { sizeof(key.name) * 8 };
	__u32 one = 1, two = 2, *found;

	bpf_map_update_elem(&prefixes, &kernel, &one, BPF_ANY);
	bpf_map_update_elem(&prefixes, &ipv4, &two, BPF_ANY);
	bpf_sysctl_get_name(ctx, key.name, sizeof(key.name), 0);
	found = bpf_map_lookup_elem(&prefixes, &key);
	matched = found ? *found : 0;
	return 1;
}

LICENSE("GPL");
