//! The parts of `union bpf_attr` and the `struct bpf_*_info` of `include/uapi/linux/bpf.h`.
//!
//! The kernel accepts a shorter `attr` than its own, and a longer one if the unknown part is zero. So one layout serves
//! all kernels. No struct has padding, because the kernel rejects nonzero bytes that it does not expect.

use std::mem::size_of;

use knobgate_bpf::uapi::BPF_OBJ_NAME_LEN;

/// A struct without padding, for which every bit pattern is valid: the kernel may read and write it.
///
/// # Safety
///
/// The implementing type is `repr(C)`, made of integers (and arrays of them) alone, without padding.
pub(crate) unsafe trait Plain: Default {}

/// Defines structs of integers.
macro_rules! plain {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$type>())*, "padding");

        // SAFETY: `repr(C)`, integers and arrays of them alone (below), and the assertion above found no padding.
        unsafe impl Plain for $name {}
    )*};
}

plain! {
    struct MapCreateAttr {
        kind: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        name: [u8; BPF_OBJ_NAME_LEN],
        ifindex: u32,
        btf_fd: u32,
        btf_key_type_id: u32,
        btf_value_type_id: u32,
        btf_vmlinux_value_type_id: u32,
        map_extra: u64,
        value_type_btf_obj_fd: u32,
        token_fd: u32,
    }

    struct MapElemAttr {
        map_fd: u32,
        reserved: u32,
        key: u64,
        value: u64,
        flags: u64,
    }

    struct ProgLoadAttr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; BPF_OBJ_NAME_LEN],
        prog_ifindex: u32,
        expected_attach_type: u32,
        prog_btf_fd: u32,
        func_info_rec_size: u32,
        func_info: u64,
        func_info_cnt: u32,
        line_info_rec_size: u32,
        line_info: u64,
        line_info_cnt: u32,
        attach_btf_id: u32,
        attach_prog_fd: u32,
        core_relo_cnt: u32,
        fd_array: u64,
        core_relos: u64,
        core_relo_rec_size: u32,
        log_true_size: u32,
        token_fd: u32,
        fd_array_cnt: u32,
    }

    struct BtfLoadAttr {
        btf: u64,
        log_buf: u64,
        btf_size: u32,
        log_size: u32,
        log_level: u32,
        log_true_size: u32,
        flags: u32,
        token_fd: u32,
    }

    struct TokenCreateAttr {
        flags: u32,
        bpffs_fd: u32,
    }

    struct ObjPathAttr {
        path: u64,
        fd: u32,
        flags: u32,
    }

    struct AttachAttr {
        target_fd: u32,
        prog_fd: u32,
        attach_type: u32,
        flags: u32,
        replaced_fd: u32,
        relative_fd: u32,
        expected_revision: u64,
    }

    struct RawTracepointAttr {
        name: u64,
        prog_fd: u32,
        reserved: u32,
    }

    struct LinkCreateAttr {
        prog_fd: u32,
        target_fd: u32,
        attach_type: u32,
        flags: u32,
        relative_fd: u32,
        reserved: u32,
        expected_revision: u64,
    }

    struct LinkUpdateAttr {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
    }

    struct BindMapAttr {
        prog_fd: u32,
        map_fd: u32,
        flags: u32,
    }

    struct FdAttr {
        fd: u32,
    }

    struct IdAttr {
        id: u32,
        next_id: u32,
        open_flags: u32,
    }

    struct InfoAttr {
        fd: u32,
        info_len: u32,
        info: u64,
    }

    struct QueryAttr {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        reserved: u32,
        prog_attach_flags: u64,
        link_ids: u64,
        link_attach_flags: u64,
        revision: u64,
    }

    /// `struct bpf_prog_info`
    struct ProgramInfo {
        kind: u32,
        id: u32,
        tag: [u8; 8],
        jited_len: u32,
        xlated_len: u32,
        jited_insns: u64,
        xlated_insns: u64,
        load_time_ns: u64,
        created_by_uid: u32,
        map_count: u32,
        map_ids: u64,
        name: [u8; BPF_OBJ_NAME_LEN],
        ifindex: u32,
        gpl_compatible: u32,
        netns_dev: u64,
        netns_ino: u64,
        nr_jited_ksyms: u32,
        nr_jited_func_lens: u32,
        jited_ksyms: u64,
        jited_func_lens: u64,
        btf_id: u32,
        func_info_rec_size: u32,
        func_info: u64,
        nr_func_info: u32,
        line_info_count: u32,
        line_info: u64,
        jited_line_info: u64,
        nr_jited_line_info: u32,
        line_info_rec_size: u32,
        jited_line_info_rec_size: u32,
        nr_prog_tags: u32,
        prog_tags: u64,
        run_time_ns: u64,
        run_count: u64,
        recursion_misses: u64,
        verified_insns: u32,
        attach_btf_obj_id: u32,
        attach_btf_id: u32,
        reserved: u32,
    }

    /// `struct bpf_map_info`
    struct MapInfo {
        kind: u32,
        id: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: u32,
        name: [u8; BPF_OBJ_NAME_LEN],
        ifindex: u32,
        btf_vmlinux_value_type_id: u32,
        netns_dev: u64,
        netns_ino: u64,
        btf_id: u32,
        btf_key_type_id: u32,
        btf_value_type_id: u32,
        btf_vmlinux_id: u32,
        map_extra: u64,
    }

    /// `struct bpf_link_info`, the part for a link on a cgroup
    struct LinkInfo {
        kind: u32,
        id: u32,
        program_id: u32,
        reserved: u32,
        cgroup_id: u64,
        attach_type: u32,
        reserved_2: u32,
    }
}
