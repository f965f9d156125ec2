// A dynptr of a map's value: read, written, and as a slice.
// READ kernel/domainname => *
// VARIABLE results = {0, 0, -7, 0}
// VARIABLE word = 0x06050403
// VARIABLE slice = 9
// SINCE 5.19
#include "bpf.h"

long results[4];
__u32 word;
__u8 slice, memory[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

SEC("cgroup/sysctl")
int dynptr_of_memory(struct bpf_sysctl *ctx)
{
	struct bpf_dynptr pointer;
	__u32 local = 0;
	__u8 *part;

	results[0] = bpf_dynptr_from_mem(memory, sizeof(memory), 0, &pointer);
	results[1] = bpf_dynptr_read(&local, sizeof(local), &pointer, 2, 0);
	word = local;
	results[2] = bpf_dynptr_read(&local, sizeof(local), &pointer, 14, 0);
	results[3] = bpf_dynptr_write(&pointer, 12, &word, sizeof(word), 0);
	part = bpf_dynptr_data(&pointer, 8, 4);
	if (part)
		slice = part[0];
	return 1;
}

LICENSE("GPL");
