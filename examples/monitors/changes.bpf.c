// Reports writes that change a knob below net/, except those by one's own cgroup: who wrote, and both values without the white space at
// their ends. It denies nothing. systemd-networkd has such a monitor.
// SINCE 6.12
// WRITE net/ipv4/ip_default_ttl "70\n" => 3
// WRITE net/ipv4/ip_default_ttl "70 \n" => 4
// WRITE kernel/domainname "example" => 7
// WRITE net/core/somaxconn "200\n" => 4
// READ net/core/somaxconn => "200\n"
// ENTRIES changes = 2
// VARIES changes
// CONTAINS changes "accessor\0"
// CONTAINS changes "net/ipv4/ip_default_ttl\0"
// CONTAINS changes "70\0"
// CONTAINS changes "200\0"
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct change {
	int error;
	__u32 pid;
	__u64 cgroup;
	char comm[16];
	char knob[96];
	char before[144];
	char after[144];
};

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} own_cgroup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} changes SEC(".maps");

struct text {
	char *bytes;
	__u64 size;
};

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n';
}

/* A step from the end of a text to its start. */
static long trim_byte(__u64 step, struct text *text)
{
	char *byte;

	if (step >= text->size)
		return 1;
	byte = text->bytes + (text->size - 1 - step);
	if (*byte && !is_space(*byte))
		return 1;
	*byte = 0;
	return 0;
}

static void trim(char *bytes, __u64 size)
{
	struct text text = { bytes, size };

	bpf_loop(size, trim_byte, &text, 0);
}

static bool differ(const char *left, const char *right, __u32 size)
{
	for (__u32 i = 0; i < size; i++) {
		if (left[i] != right[i])
			return true;
		if (!left[i])
			break;
	}
	return false;
}

SEC("cgroup/sysctl")
int report_changes(struct bpf_sysctl *ctx)
{
	struct change change;
	long result;

	if (!ctx->write)
		return 1;
	/* Not all of it is needed; what is not written is never read as text. */
	change.knob[0] = change.comm[0] = change.before[0] = change.after[0] = 0;
	change.pid = bpf_get_current_pid_tgid() >> 32;
	change.cgroup = bpf_get_current_cgroup_id();

	/* -EAGAIN: nobody has put a cgroup there. */
	if (bpf_current_task_under_cgroup(&own_cgroup, 0) == 1)
		return 1;
	result = bpf_sysctl_get_name(ctx, change.knob, sizeof(change.knob), 0);
	if (result >= 0 && bpf_strncmp(change.knob, 4, "net/"))
		return 1;
	if (result >= 0)
		result = bpf_get_current_comm(change.comm, sizeof(change.comm));
	if (result >= 0)
		result = bpf_sysctl_get_current_value(ctx, change.before, sizeof(change.before));
	if (result >= 0)
		result = bpf_sysctl_get_new_value(ctx, change.after, sizeof(change.after));
	change.error = result < 0 ? result : 0;
	if (result >= 0) {
		trim(change.before, sizeof(change.before));
		trim(change.after, sizeof(change.after));
		if (!differ(change.before, change.after, sizeof(change.before)))
			return 1;
	}
	bpf_ringbuf_output(&changes, &change, sizeof(change), 0);
	return 1;
}

char _license[] SEC("license") = "GPL";
