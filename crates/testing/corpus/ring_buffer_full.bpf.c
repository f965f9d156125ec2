// A ring buffer that is full: reserving gives NULL, and output -EAGAIN.
// READ kernel/domainname => *
// VARIABLE reserved = 3
// VARIABLE result = -11
// SINCE 5.8
#include "bpf.h"

__u32 reserved;
long result;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("cgroup/sysctl")
int ring_buffer_full(struct bpf_sysctl *ctx)
{
	char record[16] = {};

	for (int i = 0; i < 5; i++) {
		void *large = bpf_ringbuf_reserve(&events, 1344, 0);

		if (!large)
			continue;
		reserved++;
		bpf_ringbuf_discard(large, 0);
	}
	bpf_ringbuf_output(&events, record, 16, 0);
	result = bpf_ringbuf_output(&events, record, 16, 0);
	return 1;
}

LICENSE("GPL");
