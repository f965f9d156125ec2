/*
 * A map as it was defined before BTF: the name of the knob that must not be written is put in by user space.
 */
#include "hook.h"

struct bpf_map_def {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
};

struct bpf_map_def SEC("maps") counts = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = 4,
	.value_size = 8,
	.max_entries = 2,
};

struct bpf_map_def SEC("maps") kept = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 16,
	.value_size = 1,
	.max_entries = 8,
	.map_flags = BPF_F_NO_PREALLOC,
};

SEC("cgroup/sysctl")
int legacy(struct bpf_sysctl *ctx)
{
	char name[16] = {};
	__u32 kind = ctx->write;
	__u64 *count = bpf_map_lookup_elem(&counts, &kind);

	if (count)
		*count += 1;
	if (!ctx->write)
		return 1;
	bpf_sysctl_get_name(ctx, name, sizeof(name), BPF_F_SYSCTL_BASE_NAME);
	return !bpf_map_lookup_elem(&kept, name);
}

char _license[] SEC("license") = "MIT";
