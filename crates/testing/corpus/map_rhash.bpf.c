// A hash table that grows: an entry for each knob.
// MODEL lacks "maps of type rhash"
// WRITE kernel/domainname "a" => 1
// WRITE kernel/domainname "b" => 1
// WRITE net/ipv4/ip_default_ttl "65" => 2
// VARIABLE most = 2
// SINCE 7.2
#include "bpf.h"

struct name {
	char bytes[32];
};

__u32 most;

struct {
	__uint(type, BPF_MAP_TYPE_RHASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8);
	__type(key, struct name);
	__type(value, __u32);
} writes SEC(".maps");

SEC("cgroup/sysctl")
int map_rhash(struct bpf_sysctl *ctx)
{
	struct name name = {};
	__u32 one = 1, *count;

	if (bpf_sysctl_get_name(ctx, name.bytes, sizeof(name.bytes), 0) < 0)
		return 0;
	count = bpf_map_lookup_elem(&writes, &name);
	if (!count)
		return !bpf_map_update_elem(&writes, &name, &one, BPF_NOEXIST);
	*count += 1;
	if (*count > most)
		most = *count;
	return 1;
}

LICENSE("GPL");
