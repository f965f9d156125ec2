/*
 * The context as vmlinux.h declares it: loaders adapt its layout (CO-RE), which is the same everywhere.
 */
typedef unsigned int __u32;

#define SEC(name) __attribute__((section(name), used))

struct bpf_sysctl {
	__u32 write;
	__u32 file_pos;
} __attribute__((preserve_access_index));

SEC("?cgroup/sysctl")
int context(struct bpf_sysctl *ctx)
{
	return !(ctx->write && ctx->file_pos);
}

char _license[] SEC("license") = "GPL";
