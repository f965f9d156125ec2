//! Dynptrs: on memory of a map, and on records of a ring buffer.

use knobgate_bpf::{Cond, MapKind, Reg, Size, helper_ids};

use super::{RESULTS, Sketch, map_of};

/// Where dynptrs and data are on the stack.
const DYNPTR: i32 = -240;
const DATA: i32 = -280;
const DATA_BYTES: u64 = 32;

impl Sketch<'_> {
    pub(super) fn dynptr(&mut self) {
        if self.random.one_in(2) {
            self.dynptr_from_mem();
        } else {
            self.reserve_dynptr();
        }
    }

    fn dynptr_from_mem(&mut self) {
        // Larger ones than a map value cannot be made.
        let size = self.random.pick(&[0, 1, 8, 31, 100, 600]);
        self.asm.load_map_value(Reg::R1, RESULTS, super::BUFFERS);
        self.asm.mov(Reg::R2, size);
        let flags = i32::from(self.random.one_in(6));
        self.asm.mov(Reg::R3, flags);
        self.stack_address(Reg::R4, DYNPTR);
        self.asm.call_helper(helper_ids::DYNPTR_FROM_MEM);
        self.keep(Reg::R0);
        self.use_dynptr();
    }

    fn reserve_dynptr(&mut self) {
        self.asm.load_map(Reg::R1, map_of(MapKind::Ringbuf));
        if self.random.one_in(4) {
            self.load_input(Reg::R2);
        } else {
            let size = self.random.pick(&[0, 8, 13, 100, 1000, 4088, 4089, -1, 1 << 24, (1 << 24) - 1]);
            self.asm.mov(Reg::R2, size);
        }
        let flags = i32::from(self.random.one_in(6));
        self.asm.mov(Reg::R3, flags);
        self.stack_address(Reg::R4, DYNPTR);
        self.asm.call_helper(helper_ids::RINGBUF_RESERVE_DYNPTR);
        self.keep(Reg::R0);
        // A record holds what was there before.
        for at in [0, 8, 16, 24] {
            self.write_dynptr(at, 8);
        }
        self.use_dynptr();
        self.stack_address(Reg::R1, DYNPTR);
        self.asm.mov(Reg::R2, 0);
        let helper =
            self.random.pick(&[helper_ids::RINGBUF_SUBMIT_DYNPTR, helper_ids::RINGBUF_DISCARD_DYNPTR]);
        self.asm.call_helper(helper);
    }

    fn use_dynptr(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            let len = self.random.below(DATA_BYTES + 1) as i32;
            let at = self.random.pick(&[0, 0, 1, 8, 31, 32, 69, 100, 1 << 24, -1]);
            match self.random.below(3) {
                0 => self.write_dynptr(at, len),
                // What follows the first bytes of a record is not the same on both.
                1 if at + len <= 32 && at >= 0 => self.read_dynptr(at, len),
                _ => self.dynptr_data(at, len),
            }
        }
    }

    fn write_dynptr(&mut self, at: i32, len: i32) {
        for offset in (0..DATA_BYTES as i32).step_by(8) {
            self.load_input(Reg::R0);
            self.asm.store(Size::U64, Reg::R10, (DATA + offset) as i16, Reg::R0);
        }
        self.stack_address(Reg::R1, DYNPTR);
        self.asm.mov(Reg::R2, at);
        self.stack_address(Reg::R3, DATA);
        self.asm.mov(Reg::R4, len);
        let flags = i32::from(self.random.one_in(8));
        self.asm.mov(Reg::R5, flags);
        self.asm.call_helper(helper_ids::DYNPTR_WRITE);
        self.keep(Reg::R0);
    }

    fn read_dynptr(&mut self, at: i32, len: i32) {
        for offset in (0..DATA_BYTES as i32).step_by(8) {
            self.asm.store_imm(Size::U64, Reg::R10, (DATA + offset) as i16, 0x55);
        }
        self.stack_address(Reg::R1, DATA);
        self.asm.mov(Reg::R2, len);
        self.stack_address(Reg::R3, DYNPTR);
        self.asm.mov(Reg::R4, at);
        let flags = i32::from(self.random.one_in(8));
        self.asm.mov(Reg::R5, flags);
        self.asm.call_helper(helper_ids::DYNPTR_READ);
        self.keep(Reg::R0);
        self.asm.load(Size::U64, Reg::R0, Reg::R10, DATA as i16 + 8);
        self.keep(Reg::R0);
    }

    fn dynptr_data(&mut self, at: i32, len: i32) {
        self.stack_address(Reg::R1, DYNPTR);
        self.asm.mov(Reg::R2, at);
        self.asm.mov(Reg::R3, len.max(1));
        self.asm.call_helper(helper_ids::DYNPTR_DATA);
        let (none, end) = (self.asm.new_label(), self.asm.new_label());
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, none);
        self.asm.store_imm(Size::U8, Reg::R0, 0, 7);
        self.asm.load(Size::U8, Reg::R7, Reg::R0, 0);
        self.asm.jump(end);
        self.asm.bind(none);
        self.asm.mov(Reg::R7, -404);
        self.asm.bind(end);
        self.keep(Reg::R7);
    }
}
