// Numbers with a sign, white space before and rubbish after.
// READ kernel/domainname => *
// VARIABLE numbers = {-42, 65, 2147483648, 8}
// VARIABLE results = {3, 4, 11, 3}
#include "bpf.h"

long numbers[4];
long results[4];

SEC("cgroup/sysctl")
int strtol_(struct bpf_sysctl *ctx)
{
	const char texts[4][16] = { "-42", "0x41 rest", " 2147483648\n", "010x" };
	long number;

	for (int i = 0; i < 4; i++) {
		results[i] = bpf_strtol(texts[i], sizeof(texts[i]), 0, &number);
		numbers[i] = number;
	}
	return 1;
}

LICENSE("GPL");
