/*
 * Where a kernel finds the lock in a value, and where it does not. What becomes of each map is in the tests that have its name.
 */
#include "hook.h"

typedef struct bpf_spin_lock lock_t;

struct member {
	int number;
	struct bpf_spin_lock lock;
};

struct with_typedef {
	int number;
	lock_t lock;
};

struct with_volatile {
	int number;
	volatile struct bpf_spin_lock lock;
};

struct in_struct {
	int number;
	struct member in;
};

struct in_struct_without_name {
	int number;
	struct {
		struct bpf_spin_lock lock;
	};
};

struct in_union {
	int number;
	union {
		struct bpf_spin_lock lock;
	};
};

struct array_of_two {
	int number;
	struct bpf_spin_lock lock[2];
};

struct array_of_one {
	int number;
	struct bpf_spin_lock lock[1];
};

struct in_array_of_two {
	int number;
	struct member in[2];
};

struct in_array_of_one {
	int number;
	struct member in[1];
};

typedef struct member member_t;

struct in_typedef {
	int number;
	member_t in;
};

#define MAP(name, kind, flags)           \
	struct {                         \
		__uint(type, kind);      \
		__uint(max_entries, 1);  \
		__uint(map_flags, flags); \
		__type(key, __u32);      \
		__type(value, struct name); \
	}

#define ARRAY(name) MAP(name, BPF_MAP_TYPE_ARRAY, 0) name SEC(".maps")

ARRAY(member);
ARRAY(with_typedef);
ARRAY(with_volatile);
ARRAY(in_struct);
ARRAY(in_typedef);
ARRAY(in_struct_without_name);
ARRAY(in_union);
ARRAY(array_of_two);
ARRAY(array_of_one);
ARRAY(in_array_of_two);
ARRAY(in_array_of_one);
MAP(member, BPF_MAP_TYPE_PERCPU_ARRAY, 0) per_cpu SEC(".maps");
MAP(member, BPF_MAP_TYPE_ARRAY, 1 << 7) read_only SEC(".maps");

#define LOOK_UP(name) bpf_map_lookup_elem(&name, &key)

SEC("cgroup/sysctl")
int lock_places(struct bpf_sysctl *ctx)
{
	__u32 key = 0;

	LOOK_UP(member);
	LOOK_UP(with_typedef);
	LOOK_UP(with_volatile);
	LOOK_UP(in_struct);
	LOOK_UP(in_typedef);
	LOOK_UP(in_struct_without_name);
	LOOK_UP(in_union);
	LOOK_UP(array_of_two);
	LOOK_UP(array_of_one);
	LOOK_UP(in_array_of_two);
	LOOK_UP(in_array_of_one);
	LOOK_UP(per_cpu);
	LOOK_UP(read_only);
	return 1;
}

char _license[] SEC("license") = "GPL";
