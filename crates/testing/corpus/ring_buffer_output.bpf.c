// Records that are copied into a ring buffer, of a length that varies.
// WRITE kernel/domainname "one" => 3
// WRITE kernel/domainname "three" => 5
// ENTRIES events = 2
// SINCE 5.8
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("cgroup/sysctl")
int ring_buffer_output(struct bpf_sysctl *ctx)
{
	char value[16] = {};
	long length = bpf_sysctl_get_new_value(ctx, value, sizeof(value));

	if (length < 1 || length > sizeof(value))
		return 0;
	return !bpf_ringbuf_output(&events, value, length, 0);
}

LICENSE("GPL");
