// `bpf_snprintf` of IP addresses.
// READ kernel/domainname => *
// VARIABLE text = "192.0.2.7 2001:0db8:0000:0000:0000:0000:0000:0001"
// SINCE 5.13
#include "bpf.h"

char text[64];

SEC("cgroup/sysctl")
int string_format_address(struct bpf_sysctl *ctx)
{
	static const char format[] = "%pI4 %pI6";
	__u8 ipv4[4] = { 192, 0, 2, 7 }, ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	__u64 arguments[] = { (__u64)ipv4, (__u64)ipv6 };

	bpf_snprintf(text, sizeof(text), format, arguments, sizeof(arguments));
	return 1;
}

LICENSE("GPL");
