/*
 * Definitions of maps that libbpf or the kernel rejects, each with a program that uses it; and some that libbpf adapts.
 */
#include "hook.h"

#define USE(name)                                  \
	SEC("cgroup/sysctl")                       \
	int name(struct bpf_sysctl *ctx)           \
	{                                          \
		__u32 key = 0;                     \
		bpf_map_lookup_elem(&name##_map, &key); \
		return 1;                          \
	}

/* Rejected by the kernel: no size. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
} ring_without_size_map SEC(".maps");
USE(ring_without_size)

/* Becomes 8192. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring_of_5000_map SEC(".maps");
USE(ring_of_5000)

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(key_size, 8);
	__uint(value_size, 8);
} trie_without_flag_map SEC(".maps");
USE(trie_without_flag)

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
} events_without_sizes_map SEC(".maps");
USE(events_without_sizes)

/* Gets an entry for each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events_map SEC(".maps");
USE(events)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 8);
	__type(key, __u32);
	__type(value, __u32);
} other_key_map SEC(".maps");
USE(other_key)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(value_size, 8);
} other_value_map SEC(".maps");
USE(other_value)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(key_size, 4);
	__uint(value_size, 4);
} same_sizes_map SEC(".maps");
USE(same_sizes)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(no_such_attribute, 1);
} unknown_attribute_map SEC(".maps");
USE(unknown_attribute)

struct {
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} without_type_map SEC(".maps");
USE(without_type)

static struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} static_map_map SEC(".maps");
USE(static_map)

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__array(values, struct inner);
} other_slot_map SEC(".maps");
USE(other_slot)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__type(key, __u32);
		__type(value, __u32);
		__uint(pinning, 0);
	});
} pinned_inside_map SEC(".maps");
USE(pinned_inside)

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, void *);
} other_values_map SEC(".maps");
USE(other_values)

char _license[] SEC("license") = "GPL";
