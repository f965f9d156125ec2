// A work queue in a value, whose callback may sleep.
// MODEL lacks "values with a bpf_wq"
// READ kernel/domainname => *
// VARIABLE results = {0, 0, 0}
// SINCE 6.10
#include "bpf.h"

int results[3];

struct element {
	struct bpf_wq work;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} works SEC(".maps");

extern int bpf_wq_init(struct bpf_wq *wq, void *map, unsigned int flags) KSYM;
typedef int (*callback)(void *map, int *key, void *value);
extern int bpf_wq_set_callback(struct bpf_wq *wq, callback callback, unsigned int flags) KSYM WEAK;
/* Its name and type before the kernel passed `aux` by itself. */
extern int bpf_wq_set_callback_impl(struct bpf_wq *wq, callback callback, unsigned int flags, void *aux) KSYM WEAK;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned int flags) KSYM;

static int work(void *map, int *key, void *element)
{
	return 0;
}

SEC("cgroup/sysctl")
int map_work_queue(struct bpf_sysctl *ctx)
{
	__u32 zero = 0;
	struct element *element = bpf_map_lookup_elem(&works, &zero);

	if (!element)
		return 0;
	results[0] = bpf_wq_init(&element->work, &works, 0);
	results[1] = bpf_wq_set_callback ? bpf_wq_set_callback(&element->work, work, 0)
					 : bpf_wq_set_callback_impl(&element->work, work, 0, NULL);
	results[2] = bpf_wq_start(&element->work, 0);
	return 1;
}

LICENSE("GPL");
