// A key with padding, which has to be zeroed.
// WRITE kernel/domainname "a" => 1
// READ kernel/domainname => *
// ENTRIES by_kind = 2
#include "bpf.h"

struct key {
	__u8 write;
	__u64 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct key);
	__type(value, __u32);
} by_kind SEC(".maps");

SEC("cgroup/sysctl")
int map_hash_structured_key(struct bpf_sysctl *ctx)
{
	struct key key;
	char name[32];
	__u32 one = 1;

	__builtin_memset(&key, 0, sizeof(key));
	key.write = ctx->write;
	key.length = bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	bpf_map_update_elem(&by_kind, &key, &one, BPF_ANY);
	return 1;
}

LICENSE("GPL");
