// Enumerations of 32 and 64 bits.
// READ kernel/domainname => *
// VARIABLE color = 1
// VARIABLE large = 0x100000000
#include "bpf.h"

enum color { RED, GREEN = 1, BLUE };
enum large { SMALL = 1, LARGE = 0x100000000ULL };

enum color color = BLUE;
__u64 large;

SEC("cgroup/sysctl")
int data_enums(struct bpf_sysctl *ctx)
{
	enum large value = SMALL;

	color = color == BLUE ? GREEN : RED;
	opaque(value);
	large = value == SMALL ? LARGE : 0;
	return 1;
}

LICENSE("GPL");
