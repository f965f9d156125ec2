/*
 * The few members of the kernel's structures that programs here read. Only the names count: their offsets are relocated (CO-RE)
 * to those of the running kernel.
 */
#pragma once

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct net *net_ns;
};

struct kernfs_node {
	const char *name;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	char comm[16];
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
};

#pragma clang attribute pop

/* The offset of a member in the running kernel, and so on; see libbpf's bpf_core_read.h for all kinds. */
enum { BPF_FIELD_BYTE_OFFSET = 0, BPF_FIELD_BYTE_SIZE = 1, BPF_FIELD_EXISTS = 2, BPF_FIELD_SIGNED = 3 };
enum { BPF_TYPE_EXISTS = 0, BPF_TYPE_SIZE = 1 };
enum { BPF_ENUMVAL_EXISTS = 0, BPF_ENUMVAL_VALUE = 1 };

#define field_exists(field) __builtin_preserve_field_info(field, BPF_FIELD_EXISTS)
#define field_size(field) __builtin_preserve_field_info(field, BPF_FIELD_BYTE_SIZE)

/* Reads `from->member` of the kernel's memory into `*to`. */
#define read_member(to, from, member) \
	bpf_probe_read_kernel(to, sizeof(*(to)), __builtin_preserve_access_index(&(from)->member))
