// A ring buffer that user space fills, and that is empty here.
// MODEL lacks "maps of type user_ringbuf"
// READ kernel/domainname => *
// VARIABLE drained = 0
// SINCE 6.1
#include "bpf.h"

long drained = -1;

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} commands SEC(".maps");

static long on_command(struct bpf_dynptr *command, void *context)
{
	return 0;
}

SEC("cgroup/sysctl")
int ring_buffer_of_user(struct bpf_sysctl *ctx)
{
	drained = bpf_user_ringbuf_drain(&commands, on_command, NULL, 0);
	return 1;
}

LICENSE("GPL");
