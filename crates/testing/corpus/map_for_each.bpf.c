// `bpf_for_each_map_elem` over a hash table, which the callback leaves early.
// READ kernel/domainname => *
// VARIABLE visited = {3, 1}
// VARIABLE sum = 60
// SINCE 5.13
#include "bpf.h"

long visited[2];
__u64 sum;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

static long add(void *map, const __u32 *key, __u64 *value, __u64 *total)
{
	*total += *value;
	return 0;
}

static long stop(void *map, const __u32 *key, __u64 *value, void *unused)
{
	return 1;
}

SEC("cgroup/sysctl")
int map_for_each(struct bpf_sysctl *ctx)
{
	__u64 total = 0;

	for (__u32 i = 1; i < 4; i++) {
		__u32 key = i;
		__u64 value = i * 10;

		bpf_map_update_elem(&table, &key, &value, BPF_ANY);
	}
	visited[0] = bpf_for_each_map_elem(&table, add, &total, 0);
	sum = total;
	visited[1] = bpf_for_each_map_elem(&table, stop, NULL, 0);
	return 1;
}

LICENSE("GPL");
