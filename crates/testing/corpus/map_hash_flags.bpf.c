// What updating and deleting return: -EEXIST, -ENOENT, -E2BIG, -EINVAL.
// READ kernel/domainname => *
// VARIABLE results = {-2, 0, -17, 0, 0, -7, 0, -2, -22}
// ENTRIES few = 1
// SINCE 6.4
#include "bpf.h"

long results[9];

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} few SEC(".maps");

SEC("cgroup/sysctl")
int map_hash_flags(struct bpf_sysctl *ctx)
{
	__u32 first = 1, second = 2, third = 3, value = 7;

	results[0] = bpf_map_update_elem(&few, &first, &value, BPF_EXIST);
	results[1] = bpf_map_update_elem(&few, &first, &value, BPF_NOEXIST);
	results[2] = bpf_map_update_elem(&few, &first, &value, BPF_NOEXIST);
	results[3] = bpf_map_update_elem(&few, &first, &value, BPF_EXIST);
	results[4] = bpf_map_update_elem(&few, &second, &value, BPF_ANY);
	results[5] = bpf_map_update_elem(&few, &third, &value, BPF_ANY);
	results[6] = bpf_map_delete_elem(&few, &second);
	results[7] = bpf_map_delete_elem(&few, &second);
	results[8] = bpf_map_update_elem(&few, &first, &value, BPF_NOEXIST | BPF_EXIST);
	return 1;
}

LICENSE("GPL");
