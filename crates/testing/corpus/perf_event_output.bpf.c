// Perf events. What the helper returns depends on who listens.
// READ kernel/domainname => *
// WRITE kernel/domainname "a" => 1
// VARIABLE calls = 2
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
