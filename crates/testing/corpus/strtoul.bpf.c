// Numbers without a sign, in the bases 8, 10 and 16.
// READ kernel/domainname => *
// VARIABLE numbers = {511, 777, 1911, 18446744073709551615}
// VARIABLE negative = -22
#include "bpf.h"

unsigned long numbers[4];
long negative;

SEC("cgroup/sysctl")
int strtoul_(struct bpf_sysctl *ctx)
{
	char text[] = "777", most[] = "18446744073709551615", minus[] = "-1";
	unsigned long number = 0;

	bpf_strtoul(text, sizeof(text), 8, &number);
	numbers[0] = number;
	bpf_strtoul(text, sizeof(text), 10, &number);
	numbers[1] = number;
	bpf_strtoul(text, sizeof(text), 16, &number);
	numbers[2] = number;
	bpf_strtoul(most, sizeof(most), 0, &number);
	numbers[3] = number;
	negative = bpf_strtoul(minus, sizeof(minus), 0, &number);
	return 1;
}

LICENSE("GPL");
