/*
 * Nobody may write, and only one knob can be read, as long as its numbers ascend. `unrolled` has no loop left after compiling; the
 * loops of the two others are bounded, in the program itself and in a function that it calls.
 */
#include "../objects/hook.h"

#define NUMBERS 3
#define DIGITS 15 /* of a number, with the space before it */
#define VALUE_BYTES 64

#define COMPARE_NAME(unroll)                                                   \
	const char wanted[] = "net/ipv4/tcp_rmem";                             \
	char name[64] = {};                                                    \
                                                                               \
	if (bpf_sysctl_get_name(ctx, name, sizeof(name), 0) != sizeof(wanted) - 1) \
		return 0;                                                      \
	_Pragma(unroll) for (int i = 0; i < (int)sizeof(wanted); i++)          \
		if (name[i] != ((const volatile char *)wanted)[i])             \
			return 0;                                              \
	return 1;

#define COMPARE_NUMBERS(unroll)                                                \
	unsigned long numbers[NUMBERS] = {};                                   \
	char value[VALUE_BYTES];                                               \
	unsigned int start = 0;                                                \
	long length = bpf_sysctl_get_current_value(ctx, value, sizeof(value)); \
                                                                               \
	if (length < 0 || length >= VALUE_BYTES)                               \
		return 0;                                                      \
	_Pragma(unroll) for (int i = 0; i < NUMBERS; i++) {                    \
		long end = bpf_strtoul(value + start, DIGITS, 0, numbers + i); \
                                                                               \
		if (end <= 0 || end > DIGITS)                                  \
			return 0;                                              \
		start += end & DIGITS;                                         \
	}                                                                      \
	return numbers[0] < numbers[1] && numbers[1] < numbers[2];

static inline __attribute__((always_inline)) int is_ours(struct bpf_sysctl *ctx)
{
	COMPARE_NAME("unroll")
}

static inline __attribute__((always_inline)) int is_ours_by_loop(struct bpf_sysctl *ctx)
{
	COMPARE_NAME("nounroll")
}

static NOINLINE int is_ours_by_function(struct bpf_sysctl *ctx)
{
	COMPARE_NAME("nounroll")
}

SEC("cgroup/sysctl")
int unrolled(struct bpf_sysctl *ctx)
{
	if (ctx->write || !is_ours(ctx))
		return 0;
	COMPARE_NUMBERS("unroll")
}

SEC("cgroup/sysctl")
int loops(struct bpf_sysctl *ctx)
{
	if (ctx->write || !is_ours_by_loop(ctx))
		return 0;
	COMPARE_NUMBERS("nounroll")
}

SEC("cgroup/sysctl")
int loops_in_a_function(struct bpf_sysctl *ctx)
{
	if (ctx->write || !is_ours_by_function(ctx))
		return 0;
	COMPARE_NUMBERS("nounroll")
}

char _license[] SEC("license") = "GPL";
