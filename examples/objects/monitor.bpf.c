/*
 * A monitor of writes: who wrote what where, with the parent, the cgroup and the network namespace of the task, for a reader of the
 * ring buffer. Members of the kernel's structs are found by CO-RE.
 */
#include "kernel.h"

struct event {
	__u32 pid;
	__u32 parent;
	__u32 net_inum;
	__u32 cgroup_level;
	char comm[16];
	char cgroup[32];
	char name[64];
	char before[32];
	char after[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

/* Set before it is loaded: accesses of other tasks are not reported. 0 is every task. */
const volatile __u32 only_pid = 0;
const volatile char only_comm[16] = "";

__u32 reported;

static NOINLINE int is_wanted(const struct event *event)
{
	if (only_pid && event->pid != only_pid)
		return 0;
	for (int i = 0; i < 16 && only_comm[i]; i++)
		if (event->comm[i] != only_comm[i])
			return 0;
	return 1;
}

SEC("cgroup/sysctl")
int monitor(struct bpf_sysctl *ctx)
{
	struct event *event;
	struct task_struct *task;
	struct cgroup *cgroup;

	if (!ctx->write)
		return 1;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 1;
	__builtin_memset(event, 0, sizeof(*event));
	task = bpf_get_current_task();
	cgroup = READ(READ(task, cgroups), dfl_cgrp);
	event->pid = READ(task, tgid);
	event->parent = READ(READ(task, real_parent), tgid);
	event->net_inum = READ(READ(READ(task, nsproxy), net_ns), ns.inum);
	event->cgroup_level = READ(cgroup, level);
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_probe_read_kernel_str(event->cgroup, sizeof(event->cgroup), READ(READ(cgroup, kn), name));
	bpf_sysctl_get_name(ctx, event->name, sizeof(event->name), 0);
	bpf_sysctl_get_current_value(ctx, event->before, sizeof(event->before));
	bpf_sysctl_get_new_value(ctx, event->after, sizeof(event->after));
	if (!is_wanted(event)) {
		bpf_ringbuf_discard(event, 0);
		return 1;
	}
	reported++;
	bpf_ringbuf_submit(event, 0);
	return 1;
}

char _license[] SEC("license") = "GPL";
