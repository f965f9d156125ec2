// A record that is neither submitted nor discarded.
// KERNEL rejects "Unreleased reference"
// MODEL rejects "Unreleased reference"
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("cgroup/sysctl")
int ring_buffer_leak(struct bpf_sysctl *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (record)
		*record = 1;
	return 1;
}

LICENSE("GPL");
