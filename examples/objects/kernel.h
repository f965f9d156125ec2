/*
 * What these programs use of the kernel's own types: a few members of some structs, as vmlinux.h has them. A loader adapts every
 * access to the layout of the kernel that it loads into (CO-RE), so that it does not matter what else is in them.
 */
#pragma once

#include "hook.h"

#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#define __weak __attribute__((weak))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	__u64 id;
	const char *name;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	char comm[16];
	struct css_set *cgroups;
	struct nsproxy *nsproxy;
};

#pragma clang attribute pop

static struct task_struct *(*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_get_current_comm)(void *buf, __u32 size_of_buf) = (void *)16;
static long (*bpf_probe_read_kernel_str)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)115;

/* The value of a member that a pointer into the kernel leads to. */
#define READ(pointer, member)                                                              \
	({                                                                                 \
		typeof(pointer) __from = (pointer);                                        \
		typeof(__from->member) __value;                                            \
		bpf_probe_read_kernel(&__value, sizeof(__value), &__from->member);         \
		__value;                                                                   \
	})

/* The kinds of enum bpf_field_info_kind, bpf_type_info_kind and bpf_enum_value_kind. */
#define field_size(field) __builtin_preserve_field_info(field, 1)
#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define type_exists(type) __builtin_preserve_type_info(*(type *)0, 0)
#define type_size(type) __builtin_preserve_type_info(*(type *)0, 1)
#define enum_value_exists(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
#define enum_value(type, value) __builtin_preserve_enum_value(*(type *)value, 1)
