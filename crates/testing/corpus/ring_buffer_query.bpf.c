// How much is in a ring buffer, and how large it is.
// READ kernel/domainname => *
// VARIABLE sizes = {24, 4096}
// SINCE 5.8
#include "bpf.h"

__u64 sizes[2];

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("cgroup/sysctl")
int ring_buffer_query(struct bpf_sysctl *ctx)
{
	char record[16] = "sixteen bytes";

	bpf_ringbuf_output(&events, record, sizeof(record), BPF_RB_NO_WAKEUP);
	sizes[0] = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	sizes[1] = bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);
	return 1;
}

LICENSE("GPL");
