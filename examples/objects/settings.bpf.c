/*
 * Variables of all types that can be set before the program is loaded. It denies writes that are not as they say.
 */
#include "hook.h"

enum mode { OBSERVE, ENFORCE = 7, NEGATIVE = -1 };

const volatile _Bool enabled = 0;
const volatile enum mode mode = OBSERVE;
const volatile char knob[32] = "";
const volatile signed char digit = '0';
const volatile short small = 0;
const volatile long long low = 0;
volatile unsigned long long high = 5;
volatile unsigned char prefix[4];
volatile unsigned int list[3] = { 1, 2, 3 };
static volatile struct {
	int low, high;
} pair = { 1, 2 };
float fraction;

__u64 sum;

SEC("cgroup/sysctl")
int settings(struct bpf_sysctl *ctx)
{
	char name[32] = {};

	if (!enabled || !ctx->write)
		return 1;
	sum = low + high + small + digit + list[0] + list[1] + list[2] + prefix[0] + prefix[3] + pair.low + pair.high;
	bpf_sysctl_get_name(ctx, name, sizeof(name), 0);
	for (int i = 0; i < 32 && knob[i]; i++)
		if (name[i] != knob[i])
			return 1;
	return mode != ENFORCE;
}

char _license[] SEC("license") = "GPL";
