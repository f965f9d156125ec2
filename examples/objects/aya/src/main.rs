//! Denies writes to every knob but one, by its last component, and counts accesses.
#![no_std]
#![no_main]

use aya_ebpf::helpers::bpf_sysctl_get_name;
use aya_ebpf::macros::{cgroup_sysctl, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::SysctlContext;

const BPF_F_SYSCTL_BASE_NAME: u64 = 1;

/// Of reads, and of writes.
#[map]
static COUNTS: Array<u64> = Array::with_max_entries(2, 0);

#[cgroup_sysctl]
pub fn one_knob(ctx: SysctlContext) -> i32 {
    let write = unsafe { (*ctx.sysctl).write };
    if let Some(count) = COUNTS.get_ptr_mut(write) {
        unsafe { *count += 1 };
    }
    if write == 0 {
        return 1;
    }
    let mut name = [0u8; 32];
    let length = unsafe {
        bpf_sysctl_get_name(ctx.sysctl, name.as_mut_ptr().cast(), name.len() as u64, BPF_F_SYSCTL_BASE_NAME)
    };
    if length < 0 {
        return 0;
    }
    // One byte at a time, and out at the first that differs: the verifier follows every way through.
    for (byte, wanted) in name.iter().zip(b"ip_default_ttl\0") {
        if byte != wanted {
            return 0;
        }
    }
    1
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
