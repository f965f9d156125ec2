// A list of objects that the program allocates, which knobgate does not support.
// CLANG 14
// KERNEL rejects "bpf_list_head"
// MODEL rejects "bpf_list_head"
#include "bpf.h"

struct item {
	struct bpf_list_node node;
	__u64 value;
};

struct element {
	struct bpf_spin_lock lock;
	struct bpf_list_head list __attribute__((btf_decl_tag("contains:item:node")));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} lists SEC(".maps");

SEC("cgroup/sysctl")
int map_list(struct bpf_sysctl *ctx)
{
	struct item item;
	__u32 zero = 0;

	opaque(zero);
	return sizeof(item) == 32 && bpf_map_lookup_elem(&lists, &zero) != NULL;
}

LICENSE("GPL");
