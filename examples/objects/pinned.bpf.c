/*
 * A map that is pinned by its name: all programs that have a map of this name count together.
 */
#include "hook.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} knobgate_test SEC(".maps");

__u32 own;

SEC("cgroup/sysctl")
int pinned(struct bpf_sysctl *ctx)
{
	__u32 kind = ctx->write;
	__u64 *count = bpf_map_lookup_elem(&knobgate_test, &kind);

	own++;
	if (!count)
		return 0;
	*count += 1;
	/* Three writes at most, whichever program has seen them. */
	return !kind || *count <= 3;
}

char _license[] SEC("license") = "GPL";
