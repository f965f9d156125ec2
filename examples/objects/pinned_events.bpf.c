/*
 * An array of perf events that is pinned by its name. It has an entry for each processor, as it does not say how many.
 */
#include "hook.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, int);
	__type(value, int);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} knobgate_events SEC(".maps");

SEC("cgroup/sysctl")
int pinned_events(struct bpf_sysctl *ctx)
{
	__u32 write = ctx->write;

	bpf_perf_event_output(ctx, &knobgate_events, BPF_F_CURRENT_CPU, &write, sizeof(write));
	return 1;
}

char _license[] SEC("license") = "GPL";
