// Records that are reserved in a ring buffer, and submitted or discarded.
// WRITE kernel/domainname "a" => 1
// READ kernel/domainname => *
// WRITE kernel/domainname "b" => 1
// ENTRIES events = 2
// SINCE 5.8
#include "bpf.h"

struct event {
	__u64 number;
	char name[24];
};

__u64 numbers;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("cgroup/sysctl")
int ring_buffer_reserve(struct bpf_sysctl *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 0;
	event->number = ++numbers;
	__builtin_memset(event->name, 0, sizeof(event->name));
	bpf_sysctl_get_name(ctx, event->name, sizeof(event->name), 0);
	if (ctx->write)
		bpf_ringbuf_submit(event, 0);
	else
		bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);
	return 1;
}

LICENSE("GPL");
