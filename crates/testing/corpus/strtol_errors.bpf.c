// What is no number, and what does not fit: the result is 0.
// READ kernel/domainname => *
// VARIABLE numbers = {0, 0, 0}
// VARIABLE results = {-22, -34, -22}
// SINCE 6.12
#include "bpf.h"

long numbers[3] = { 1, 1, 1 };
long results[3];

SEC("cgroup/sysctl")
int strtol_errors(struct bpf_sysctl *ctx)
{
	const char texts[3][24] = { "many", "9223372036854775808", "1" };
	const __u64 flags[3] = { 10, 10, 7 };
	long number = 1;

	for (int i = 0; i < 3; i++) {
		results[i] = bpf_strtol(texts[i], sizeof(texts[i]), flags[i], &number);
		numbers[i] = number;
	}
	return 1;
}

LICENSE("GPL");
