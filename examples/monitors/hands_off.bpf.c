// Tells a tuner that an administrator has changed one of its knobs, so that it leaves that one alone. Its own writes it knows by its
// process id, which it sets before it loads the program. bpftune does this.
// SINCE 6.1
// READ net/core/somaxconn => *
// WRITE net/core/somaxconn "300" => 3
// ENTRIES events = 1
// CONTAINS events "net/core/somaxconn\0"
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct event {
	__u32 tuner;
	__u32 scenario;
	char knob[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u32 tuner = 3;
const volatile int own_pid = 0;

SEC("cgroup/sysctl")
int report_writes(struct bpf_sysctl *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct event event = { .tuner = tuner };

	if (!ctx->write || bpf_sysctl_get_name(ctx, event.knob, sizeof(event.knob), 0) <= 0)
		return 1;
	if (BPF_CORE_READ(task, tgid) != own_pid)
		bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 1;
}

char _license[] SEC("license") = "GPL";
