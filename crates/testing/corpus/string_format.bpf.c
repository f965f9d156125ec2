// `bpf_snprintf`, with a string that another helper has written.
// READ kernel/domainname => *
// VARIABLE text = "-5 beef <domainname    > 007"
// VARIABLE length = 29
// SINCE 5.13
#include "bpf.h"

char text[32];
long length;

SEC("cgroup/sysctl")
int string_format(struct bpf_sysctl *ctx)
{
	static const char format[] = "%d %x <%s    > %03u";
	char name[16];
	__u64 arguments[] = { (__u64)-5, 0xbeef, (__u64)name, 7 };

	bpf_sysctl_get_name(ctx, name, sizeof(name), BPF_F_SYSCTL_BASE_NAME);
	length = bpf_snprintf(text, sizeof(text), format, arguments, sizeof(arguments));
	return 1;
}

LICENSE("GPL");
