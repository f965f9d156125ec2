// Perf events. What the helper returns depends on who listens. The kernel pads them to 8 n + 4 bytes.
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => 1
// VARIABLE calls = 2
// ENTRIES perf = 2
// CONTAINS perf "\0\0\0\0\0\0\0"
// SINCE 5.8
#include "bpf.h"

__u32 calls;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

SEC("cgroup/sysctl")
int perf_event_output(struct bpf_sysctl *ctx)
{
	__u64 record = ++calls;

	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &record, sizeof(record));
	return 1;
}

LICENSE("GPL");
