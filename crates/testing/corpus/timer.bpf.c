// A timer that is started and cancelled.
// READ kernel/domainname => *
// VARIABLE results = {0, 0, 0, 1}
// SINCE 5.15
// MODEL lacks "values with a bpf_timer"
#include "bpf.h"

long results[4];

struct element {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} timers SEC(".maps");

static int expired(void *map, __u32 *key, struct element *element)
{
	return 0;
}

SEC("cgroup/sysctl")
int timer(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;
	struct element *element = bpf_map_lookup_elem(&timers, &zero);

	if (!element)
		return 0;
	results[0] = bpf_timer_init(&element->timer, &timers, 1);
	results[1] = bpf_timer_set_callback(&element->timer, expired);
	results[2] = bpf_timer_start(&element->timer, 3600000000000ULL, 0);
	results[3] = bpf_timer_cancel(&element->timer);
	return 1;
}

LICENSE("GPL");
