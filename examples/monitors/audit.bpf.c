// Reports every access as a perf event: the process, its parent and its cgroup with those above it, and the knob with both values, one
// after the other in a buffer that is larger than the stack. Security agents such as Datadog's do this.
// SINCE 6.1
// READ kernel/domainname => *
// WRITE kernel/domainname "example\n" => 8
// WRITE kernel/domainname "other" => 5
// VARIABLE reported = 3
// ENTRIES scratch = 1
// VARIES scratch
// ENTRIES accesses = 3
// VARIES accesses
// CONTAINS accesses "kernel/domainname\0example\n\0other\0"
// CONTAINS scratch "accessor\0"
// CONTAINS scratch "kernel/domainname\0example\n\0other\0"
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define TEXT_SIZE 1024
#define BUFFER_SIZE (4 * TEXT_SIZE)
#define LEVELS 4

enum flags { NAME_CUT = 1, OLD_VALUE_CUT = 2, NEW_VALUE_CUT = 4 };

struct access {
	__u32 write;
	__u32 position;
	__u32 flags;
	__u32 tgid;
	__u32 parent;
	__u32 levels;
	char comm[16];
	char cgroups[LEVELS][32];
	/* The name and the two values, each with a NUL. */
	__u32 used;
	char buffer[BUFFER_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct access);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} accesses SEC(".maps");

__u64 reported;

/* The cgroup one level up; the member has another name since Linux 6.15. */
static struct kernfs_node *parent_of(struct kernfs_node *node)
{
	struct kernfs_node___rcu *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

static void add_process(struct access *access)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct kernfs_node *node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);

	access->tgid = BPF_CORE_READ(task, tgid);
	access->parent = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_STR_INTO(&access->comm, task, group_leader, comm);
	access->levels = 0;
	for (int level = 0; level < LEVELS && node; level++) {
		bpf_probe_read_kernel_str(access->cgroups[level], sizeof(access->cgroups[level]),
					  BPF_CORE_READ(node, name));
		node = parent_of(node);
		access->levels++;
	}
}

/* How much of the buffer a text takes that a helper has written: `size` bytes if it was cut. */
static __u32 length_of(struct access *access, long result, enum flags cut)
{
	if (result == -7) {
		access->flags |= cut;
		return TEXT_SIZE;
	}
	return result < 0 ? 1 : (result + 1) & (TEXT_SIZE - 1);
}

SEC("cgroup/sysctl")
int report_accesses(struct bpf_sysctl *ctx)
{
	__u32 zero = 0, used;
	struct access *access = bpf_map_lookup_elem(&scratch, &zero);
	long result;

	if (!access)
		return 1;
	access->write = ctx->write;
	access->position = ctx->file_pos;
	access->flags = 0;
	add_process(access);

	result = bpf_sysctl_get_name(ctx, access->buffer, TEXT_SIZE, 0);
	used = length_of(access, result, NAME_CUT);
	result = bpf_sysctl_get_current_value(ctx, &access->buffer[used & (2 * TEXT_SIZE - 1)], TEXT_SIZE);
	used += length_of(access, result, OLD_VALUE_CUT);
	result = bpf_sysctl_get_new_value(ctx, &access->buffer[used & (2 * TEXT_SIZE - 1)], TEXT_SIZE);
	used += length_of(access, result, NEW_VALUE_CUT);
	access->used = used;

	/* Nobody may be listening, which is no reason to deny. */
	bpf_perf_event_output(ctx, &accesses, BPF_F_CURRENT_CPU, access,
			      __builtin_offsetof(struct access, buffer) + (used & (BUFFER_SIZE - 1)));
	__sync_fetch_and_add(&reported, 1);
	return 1;
}

char _license[] SEC("license") = "GPL";
