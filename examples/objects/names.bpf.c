/*
 * Names, by their last component and in full: denies knobs called `tag`, and everything more than four directories
 * down. Keeps what it found in global variables.
 */
#include "hook.h"

struct found {
	__u32 depth;
	__u32 base_length;
	__u32 full_length;
	__u32 vowels;
};

struct found last;
char wanted[8] = "tag";
const char vowels[] = "aeiou";
static int accesses;

static long count_slash(__u32 index, char *name)
{
	if (index < 64 && name[index] == '/')
		last.depth++;
	return index >= 63;
}

NOINLINE int is_vowel(int letter)
{
	for (int i = 0; i < 5; i++)
		if (letter == vowels[i])
			return 1;
	return 0;
}

static NOINLINE int count_vowels(const char *name)
{
	int count = 0;

	for (int i = 0; i < 15 && name[i]; i++)
		count += is_vowel(name[i]);
	return count;
}

SEC("cgroup/sysctl")
int names(struct bpf_sysctl *ctx)
{
	char base[16] = {}, full[64] = {};
	long length;

	accesses++;
	last.depth = 0;
	length = bpf_sysctl_get_name(ctx, base, sizeof(base), BPF_F_SYSCTL_BASE_NAME);
	last.base_length = length;
	last.vowels = count_vowels(base);
	length = bpf_sysctl_get_name(ctx, full, sizeof(full), 0);
	last.full_length = length;
	if (length < 0 || bpf_loop(64, count_slash, full, 0) < 0)
		return 0;
	return last.depth < 5 && __builtin_memcmp(base, wanted, 4) != 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
