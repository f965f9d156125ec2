// A record of a length that only the access tells, by a dynptr.
// WRITE kernel/domainname "example" => 7
// ENTRIES events = 1
// VARIABLE results = {0, 0}
// SINCE 5.19
#include "bpf.h"

long results[2];

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("cgroup/sysctl")
int ring_buffer_dynptr(struct bpf_sysctl *ctx)
{
	char value[16] = {};
	struct bpf_dynptr record;
	long length = bpf_sysctl_get_new_value(ctx, value, sizeof(value));

	if (length < 1 || length > sizeof(value))
		return 0;
	results[0] = bpf_ringbuf_reserve_dynptr(&events, length, 0, &record);
	results[1] = bpf_dynptr_write(&record, 0, value, length, 0);
	bpf_ringbuf_submit_dynptr(&record, 0);
	return 1;
}

LICENSE("GPL");
