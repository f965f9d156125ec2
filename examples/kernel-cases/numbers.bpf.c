/*
 * Numbers in text. Keeps what the helpers returned and the numbers.
 */
#include "../objects/hook.h"

static long (*bpf_strtol)(const char *buf, __u64 len, __u64 flags, long *res) = (void *)105;

long returned[2];
long number[2];

#define PARSE(program, helper, text, size, flags)                              \
	SEC("cgroup/sysctl")                                                   \
	int program(struct bpf_sysctl *ctx)                                    \
	{                                                                      \
		char buffer[24] = text;                                        \
		number[0] = number[1] = -1;                                    \
		returned[0] = helper(buffer, size, flags, (void *)&number[0]); \
		return 1;                                                      \
	}

PARSE(one_number, bpf_strtoul, "600", 4, 0)
PARSE(no_text, bpf_strtoul, "600", 0, 0)
PARSE(octal, bpf_strtoul, "077", 4, 8)
PARSE(base_3, bpf_strtoul, "600", 4, 3)
PARSE(only_space, bpf_strtoul, "\r\f\n\t", 4, 0)
PARSE(negative_unsigned, bpf_strtoul, "\n-6", 4, 0)
PARSE(negative, bpf_strtol, "\n-6", 4, 10)
PARSE(hexadecimal, bpf_strtol, "0xfe", 4, 0)
PARSE(largest, bpf_strtol, "9223372036854775807", 19, 0)
PARSE(too_large, bpf_strtol, "9223372036854775808", 19, 0)

/* The second number starts where the first one ended. */
SEC("cgroup/sysctl")
int two_numbers(struct bpf_sysctl *ctx)
{
	char buffer[8] = "600 602";
	long end;

	number[0] = number[1] = -1;
	returned[1] = 0;
	returned[0] = end = bpf_strtoul(buffer, sizeof(buffer), 0, (void *)&number[0]);
	if (end != 3)
		return 0;
	returned[1] = bpf_strtoul(buffer + 3, sizeof(buffer) - 3, 0, (void *)&number[1]);
	return 1;
}

char _license[] SEC("license") = "GPL";
