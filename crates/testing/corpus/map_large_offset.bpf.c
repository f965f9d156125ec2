// A store into a value at a variable offset, after a comparison.
// WRITE kernel/domainname "abc" => 3
// VARIABLE seen = "abc|"
#include "bpf.h"

char seen[8], buffer[64];

SEC("cgroup/sysctl")
int map_large_offset(struct bpf_sysctl *ctx)
{
	long length = bpf_sysctl_get_new_value(ctx, buffer, sizeof(buffer) - 1);

	if (length < 0 || length > 60)
		return 0;
	buffer[length] = '|';
	__builtin_memcpy(seen, buffer, 4);
	return 1;
}

LICENSE("GPL");
