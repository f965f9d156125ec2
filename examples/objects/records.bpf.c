/*
 * Reports accesses as records of different lengths, through dynptrs, and keeps the last one as text. The lengths of the
 * values are read from the context as the kernel has it.
 */
#include "hook.h"

/* The beginning of the kernel's struct, which is the same in all releases. */
struct bpf_sysctl_kern {
	void *head;
	void *table;
	void *cur_val;
	__u64 cur_len;
	void *new_val;
	__u64 new_len;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

struct report {
	char text[72];
	__u64 len;
	__u64 waiting;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct report);
} last SEC(".maps");

static const char format[] = "%s %5d->%-5d|%pI4|%pus";

SEC("cgroup/sysctl")
int record(struct bpf_sysctl *ctx)
{
	struct bpf_sysctl_kern *kern = (void *)ctx;
	__u64 old = 0, new = 0, size, arguments[5];
	__u8 loopback[4] = { 127, 0, 0, 1 };
	struct report *report;
	struct bpf_dynptr dynptr;
	char name[32] = {};
	__u32 zero = 0;
	char *copy;

	report = bpf_map_lookup_elem(&last, &zero);
	if (!report || bpf_sysctl_get_name(ctx, name, sizeof(name), 0) < 0)
		return 0;
	bpf_probe_read_kernel(&old, sizeof(old), &kern->cur_len);
	bpf_probe_read_kernel(&new, sizeof(new), &kern->new_len);
	arguments[0] = (__u64)name;
	arguments[1] = old;
	arguments[2] = new;
	arguments[3] = (__u64)loopback;
	arguments[4] = 0;
	report->len = bpf_snprintf(report->text, sizeof(report->text), format, arguments, sizeof(arguments));

	size = ctx->write ? 40 : 100000;
	if (bpf_ringbuf_reserve_dynptr(&records, size, 0, &dynptr) == 0) {
		bpf_dynptr_write(&dynptr, 8, name, sizeof(name), 0);
		copy = bpf_dynptr_data(&dynptr, 8, 16);
		if (copy)
			copy[0] = 'N';
		bpf_dynptr_read(name, sizeof(name), &dynptr, 8, 0);
	}
	/* Also after a failure: it is null, and nothing is sent. */
	bpf_ringbuf_submit_dynptr(&dynptr, 0);
	report->waiting = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);
	report->text[0] = name[0];
	return 1;
}

char _license[] SEC("license") = "GPL";
