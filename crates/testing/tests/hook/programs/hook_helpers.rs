//! The helpers of the hook and the context, with unusual lengths, offsets and flags.

use knobgate_bpf::{Reg, Size, helper_ids};

use super::{CONTEXT, Sketch};

impl Sketch<'_> {
    fn size(&mut self) -> u32 {
        match self.random.below(8) {
            0 => 4000 + self.random.below(200) as u32,
            1 => 1 + self.random.below(4) as u32,
            2 => 64,
            _ => 1 + self.random.below(45) as u32,
        }
    }

    pub(super) fn get_name(&mut self) {
        let size = self.size().min(80);
        self.asm.mov(Reg::R1, CONTEXT);
        self.buffer(Reg::R2, size);
        self.asm.mov(Reg::R3, size as i32);
        let flags = self.random.pick(&[0, 0, 0, 1, 1, 1, 2, 3, -1, i32::MIN]);
        self.asm.mov(Reg::R4, flags);
        self.asm.call_helper(helper_ids::SYSCTL_GET_NAME);
        self.keep(Reg::R0);
    }

    pub(super) fn get_value(&mut self) {
        let helper =
            self.random.pick(&[helper_ids::SYSCTL_GET_CURRENT_VALUE, helper_ids::SYSCTL_GET_NEW_VALUE]);
        let size = self.size();
        self.asm.mov(Reg::R1, CONTEXT);
        let on_stack = size <= 64 && self.random.one_in(3);
        if on_stack {
            self.stack_address(Reg::R2, -128);
        } else {
            self.buffer(Reg::R2, size);
        }
        self.asm.mov(Reg::R3, size as i32);
        self.asm.call_helper(helper);
        self.keep(Reg::R0);
        if on_stack && size >= 8 {
            self.asm.load(Size::U64, Reg::R0, Reg::R10, -128);
            self.keep(Reg::R0);
        }
    }

    pub(super) fn set_new_value(&mut self) {
        for _ in 0..1 + self.random.below(2) {
            self.asm.mov(Reg::R1, CONTEXT);
            let size = if self.random.one_in(6) {
                // Sometimes longer than allowed.
                let size = self.random.pick(&[4095, 4096, 4097, 300]);
                self.asm.load_map_value(Reg::R2, super::RESULTS, super::BUFFERS);
                size
            } else {
                self.some_text(Reg::R2)
            };
            self.asm.mov(Reg::R3, size as i32);
            self.asm.call_helper(helper_ids::SYSCTL_SET_NEW_VALUE);
            self.keep(Reg::R0);
        }
    }

    pub(super) fn parse_number(&mut self) {
        for _ in 0..1 + self.random.below(4) {
            let helper = self.random.pick(&[helper_ids::STRTOL, helper_ids::STRTOUL]);
            self.asm.store_imm(Size::U64, Reg::R10, -8, 77);
            let size = self.some_text(Reg::R1);
            self.asm.mov(Reg::R2, size as i32);
            let flags = self.random.pick(&[0, 0, 0, 8, 10, 16, 2, 32, -1]);
            self.asm.mov(Reg::R3, flags);
            self.stack_address(Reg::R4, -8);
            self.asm.call_helper(helper);
            self.keep(Reg::R0);
            self.asm.load(Size::U64, Reg::R0, Reg::R10, -8);
            self.keep(Reg::R0);
        }
    }

    pub(super) fn retval(&mut self) {
        if self.random.one_in(2) {
            let any_number = !self.profile.set_retval_checked;
            let retval = match self.random.below(8) {
                0 if any_number => self.random.below(20) as i32,
                1 if any_number => -4096,
                0 | 1 => -4095,
                2 | 3 => 0,
                _ => -(1 + self.random.below(130) as i32),
            };
            self.asm.mov(Reg::R1, retval);
            self.asm.call_helper(helper_ids::SET_RETVAL);
            self.keep(Reg::R0);
        }
        self.asm.call_helper(helper_ids::GET_RETVAL);
        self.keep(Reg::R0);
    }

    pub(super) fn context(&mut self) {
        let places: [(Size, i16); 14] = [
            (Size::U8, 0),
            (Size::U8, 1),
            (Size::U8, 2),
            (Size::U8, 3),
            (Size::U8, 4),
            (Size::U8, 5),
            (Size::U8, 6),
            (Size::U8, 7),
            (Size::U16, 0),
            (Size::U16, 2),
            (Size::U16, 4),
            (Size::U16, 6),
            (Size::U32, 0),
            (Size::U32, 4),
        ];
        for _ in 0..1 + self.random.below(3) {
            let (size, offset) = self.random.pick(&places);
            self.asm.load(size, Reg::R0, CONTEXT, offset);
            self.keep(Reg::R0);
        }
        if self.random.one_in(3) {
            let position = self.random.pick(&[0, 0, 1, 2, 5, 100, -1]);
            if self.profile.st_ctx && self.random.one_in(2) {
                self.asm.store_imm(Size::U32, CONTEXT, 4, position);
            } else {
                self.asm.mov(Reg::R1, position);
                self.asm.store(Size::U32, CONTEXT, 4, Reg::R1);
            }
            self.asm.load(Size::U32, Reg::R0, CONTEXT, 4);
            self.keep(Reg::R0);
        }
        let helpers = [helper_ids::GET_CURRENT_UID_GID, helper_ids::GET_CURRENT_COMM];
        let helpers: Vec<u32> = helpers.into_iter().filter(|&helper| self.has(helper)).collect();
        let helper = self.random.pick(&helpers);
        if helper == helper_ids::GET_CURRENT_COMM {
            let size = 1 + self.random.below(20) as u32;
            self.buffer(Reg::R1, size);
            self.asm.mov(Reg::R2, size as i32);
        }
        self.asm.call_helper(helper);
        self.keep(Reg::R0);
    }
}
