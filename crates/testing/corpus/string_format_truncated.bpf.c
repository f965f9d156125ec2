// `bpf_snprintf` into a buffer that is too short: the result is the length that it needs, with the NUL.
// READ kernel/domainname => *
// VARIABLE text = "123"
// VARIABLE length = 7
// SINCE 5.13
#include "bpf.h"

char text[4];
long length;

SEC("cgroup/sysctl")
int string_format_truncated(struct bpf_sysctl *ctx)
{
	static const char format[] = "%d";
	__u64 argument = 123456;

	length = bpf_snprintf(text, sizeof(text), format, &argument, sizeof(argument));
	return 1;
}

LICENSE("GPL");
