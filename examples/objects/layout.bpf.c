/*
 * One relocation of each kind that clang 14 has (CO-RE), against whatever kernel it is linked for. The results are in .bss.
 */
#include "kernel.h"

/* Declared in another order, with another size, and in a flavour of its own. */
struct task_struct___other {
	char comm[16];
	unsigned long long tgid;
	int no_such_member;
} __attribute__((preserve_access_index));

struct no_such_struct {
	int member;
} __attribute__((preserve_access_index));

struct css_set___other_type {
	int dfl_cgrp;
} __attribute__((preserve_access_index));

/* Before 6.15, the parent of a kernfs_node was called `parent`. */
struct kernfs_node___old {
	struct kernfs_node *parent;
} __attribute__((preserve_access_index));

struct kernfs_node___new {
	struct kernfs_node *__parent;
} __attribute__((preserve_access_index));

/* The numbers are the kernel's, whatever they are here. */
enum pid_type___other { PIDTYPE_PGID___other = 100, PIDTYPE_NO_SUCH = 101 };

__u64 comm_offset, comm_size, fifth_offset;
__u32 tgid_size, pid_signed, pid_exists, missing_exists, other_type_exists;
__u32 struct_exists, missing_struct_exists, struct_size, missing_struct_size;
__u32 parents;
__u32 value_exists, missing_value_exists, value;
__u32 never;

SEC("cgroup/sysctl")
int layout(struct bpf_sysctl *ctx)
{
	struct task_struct *task = 0;
	struct task_struct___other *other = 0;

	comm_offset = (__u64)__builtin_preserve_access_index(&other->comm);
	fifth_offset = (__u64)__builtin_preserve_access_index(&task->comm[5]);
	comm_size = field_size(task->comm);
	tgid_size = field_size(other->tgid);
	pid_signed = __builtin_preserve_field_info(task->pid, 3);
	pid_exists = field_exists(task->pid);
	missing_exists = field_exists(other->no_such_member);
	other_type_exists = field_exists(((struct css_set___other_type *)0)->dfl_cgrp);
	struct_exists = type_exists(struct task_struct);
	missing_struct_exists = type_exists(struct no_such_struct);
	struct_size = type_size(struct task_struct);
	missing_struct_size = type_size(struct no_such_struct);
	parents = field_exists(((struct kernfs_node___old *)0)->parent) +
		  field_exists(((struct kernfs_node___new *)0)->__parent);
	value_exists = enum_value_exists(enum pid_type___other, PIDTYPE_PGID___other);
	missing_value_exists = enum_value_exists(enum pid_type___other, PIDTYPE_NO_SUCH);
	if (enum_value_exists(enum pid_type___other, PIDTYPE_PGID___other))
		value = enum_value(enum pid_type___other, PIDTYPE_PGID___other);
	/* What the kernel does not have is not reached. */
	if (field_exists(other->no_such_member))
		never = (__u64)__builtin_preserve_access_index(&other->no_such_member);
	if (type_exists(struct no_such_struct))
		never += (__u64)__builtin_preserve_access_index(&((struct no_such_struct *)0)->member);
	return 1;
}

char _license[] SEC("license") = "GPL";
