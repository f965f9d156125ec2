//! Reads at any address: of the program's own memory, of the context as the kernel has it, and of what is not there.

use knobgate_bpf::{AluOp, Reg, Size, helper_ids};

use super::{CONTEXT, INPUT_BYTES, INPUTS, Sketch};

/// Addresses at which there is nothing: of user space, and not canonical, and of the kernel. What is canonical with 57 bits and
/// not with 48 is left out: a kernel that uses 48 on a processor that has 57 tries to read there (`copy_from_kernel_nofault_allowed`,
/// arch/x86/mm/maccess.c), and fails with another error.
const NOTHING: [u64; 7] =
    [0, 1, 4095, 0x7fff_ffff_ffff, 1 << 56, 0x1234_5678_9abc_def0, 0xffff_ffff_ffff_f000];

/// The first and the last byte of the page for vsyscalls, which counts as user space's since 6.8.
const VSYSCALL: [u64; 2] = [0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_0fff];

/// Lengths and flags of `struct bpf_sysctl_kern`: `cur_len`, `new_len`, `new_updated`, `write`. They are at the same place in
/// all releases.
const MEMBERS: [i32; 4] = [24, 40, 48, 52];

impl Sketch<'_> {
    pub(super) fn probe_read(&mut self) {
        let is_string = self.random.one_in(2);
        let mut size = self.random.pick(&[0, 1, 7, 8, 24, 40]);
        let mut helper =
            if is_string { helper_ids::PROBE_READ_KERNEL_STR } else { helper_ids::PROBE_READ_KERNEL };
        match self.random.below(4) {
            0 => {
                let is_vsyscall = self.profile.version >= (6, 8) && self.random.one_in(4);
                let address = self.random.pick(if is_vsyscall { &VSYSCALL[..] } else { &NOTHING });
                self.asm.load_imm64(Reg::R3, address);
                if address >= 1 << 63 && self.random.one_in(2) {
                    let user = [helper_ids::PROBE_READ_USER, helper_ids::PROBE_READ_USER_STR];
                    helper = user[usize::from(is_string)];
                }
            }
            1 => {
                self.asm.mov(Reg::R3, CONTEXT);
                let member = self.random.pick(&MEMBERS);
                self.asm.alu(AluOp::Add, Reg::R3, member);
                helper = helper_ids::PROBE_READ_KERNEL;
                size = 4;
            }
            2 => {
                let at = self.random.below(u64::from(INPUT_BYTES - 40)) as u32;
                self.asm.load_map_value(Reg::R3, INPUTS, at);
            }
            _ => {
                self.load_input(Reg::R0);
                for offset in [-64, -56, -48, -40, -32] {
                    self.asm.store(Size::U64, Reg::R10, offset, Reg::R0);
                }
                self.stack_address(Reg::R3, -64);
            }
        }
        self.buffer(Reg::R1, 40);
        self.asm.mov(Reg::R2, size);
        self.asm.call_helper(helper);
        self.keep(Reg::R0);
    }
}
