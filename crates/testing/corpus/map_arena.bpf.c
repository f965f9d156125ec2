// An arena, which knobgate does not create.
// KERNEL rejects "type arena"
// MODEL rejects "type arena"
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

SEC("cgroup/sysctl")
int map_arena(struct bpf_sysctl *ctx)
{
	return bpf_map_lookup_elem(&arena, ctx) == NULL;
}

LICENSE("GPL");
