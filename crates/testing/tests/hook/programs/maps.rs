//! Maps of all kinds: lookups, updates, iteration.

use knobgate_bpf::{Cond, MapKind, Reg, Size, helper_ids};

use super::{Body, KINDS, Sketch, map_of};

/// Keys and values on the stack.
const KEY: i32 = -8;
const VALUE: i32 = -32;

impl Sketch<'_> {
    pub(super) fn map(&mut self) {
        let kind = self.random.pick(&KINDS);
        for _ in 0..1 + self.random.below(5) {
            match kind {
                MapKind::Queue | MapKind::Stack => self.queue(kind),
                MapKind::Ringbuf => self.ring(),
                MapKind::CgroupStorage => self.local_storage(),
                _ => self.keyed(kind),
            }
        }
    }

    fn key(&mut self, kind: MapKind) {
        let key = self.random.below(6) as i32;
        if kind == MapKind::LpmTrie {
            let bits = self.random.pick(&[0, 4, 8, 12, 16, 31, 32, 33]);
            self.asm.store_imm(Size::U32, Reg::R10, KEY as i16, bits);
            let address = self.random.pick(&[0x0a, 0x010a, 0x0201_000a, 0x0b, 0x8000_000a_u32 as i32]);
            self.asm.store_imm(Size::U32, Reg::R10, KEY as i16 + 4, address);
        } else {
            self.asm.store_imm(Size::U32, Reg::R10, KEY as i16, key);
        }
        self.stack_address(Reg::R2, KEY);
    }

    fn value(&mut self, register: Reg) {
        for offset in [0, 8] {
            self.load_input(Reg::R0);
            self.asm.store(Size::U64, Reg::R10, VALUE as i16 + offset, Reg::R0);
        }
        self.stack_address(register, VALUE);
    }

    fn keyed(&mut self, kind: MapKind) {
        let map = map_of(kind);
        match self.random.below(8) {
            0..=2 => {
                self.value(Reg::R3);
                self.key(kind);
                self.asm.load_map(Reg::R1, map);
                let flags = self.random.pick(&[0, 0, 0, 1, 2, 3]);
                self.asm.mov(Reg::R4, flags);
                self.asm.call_helper(helper_ids::MAP_UPDATE_ELEM);
                self.keep(Reg::R0);
            }
            3 => {
                self.key(kind);
                self.asm.load_map(Reg::R1, map);
                self.asm.call_helper(helper_ids::MAP_DELETE_ELEM);
                self.keep(Reg::R0);
            }
            4 if kind != MapKind::LpmTrie && self.has(helper_ids::FOR_EACH_MAP_ELEM) => {
                let function = self.asm.new_label();
                self.asm.store_imm(Size::U64, Reg::R10, -16, 0);
                self.asm.load_map(Reg::R1, map);
                self.asm.load_function(Reg::R2, function);
                self.stack_address(Reg::R3, -16);
                let flags = i32::from(self.random.one_in(6));
                self.asm.mov(Reg::R4, flags);
                self.asm.call_helper(helper_ids::FOR_EACH_MAP_ELEM);
                self.functions.push((function, Body::ForEach));
                self.keep(Reg::R0);
                self.asm.load(Size::U64, Reg::R0, Reg::R10, -16);
                self.keep(Reg::R0);
            }
            5 if kind.is_per_cpu() && self.has(helper_ids::MAP_LOOKUP_PERCPU_ELEM) => {
                self.key(kind);
                self.asm.load_map(Reg::R1, map);
                let cpu = self.random.pick(&[0, 1, 4096, -1]);
                self.asm.mov(Reg::R3, cpu);
                self.asm.call_helper(helper_ids::MAP_LOOKUP_PERCPU_ELEM);
                self.use_value();
            }
            _ => {
                self.key(kind);
                self.asm.load_map(Reg::R1, map);
                self.asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
                self.use_value();
            }
        }
    }

    /// Adds to the value in r0, if there is one.
    fn use_value(&mut self) {
        let (none, end) = (self.asm.new_label(), self.asm.new_label());
        self.asm.jump_if(Cond::Eq, Reg::R0, 0, none);
        self.asm.load(Size::U64, Reg::R7, Reg::R0, 0);
        self.load_input(Reg::R1);
        self.asm.alu(knobgate_bpf::AluOp::Add, Reg::R1, Reg::R7);
        if self.random.one_in(2) {
            self.asm.store(Size::U64, Reg::R0, 0, Reg::R1);
        }
        self.asm.jump(end);
        self.asm.bind(none);
        self.asm.mov(Reg::R7, -404);
        self.asm.bind(end);
        self.keep(Reg::R7);
    }

    fn queue(&mut self, kind: MapKind) {
        let map = map_of(kind);
        if self.random.one_in(2) {
            self.value(Reg::R2);
            self.asm.load_map(Reg::R1, map);
            let flags = self.random.pick(&[0, 0, 0, 1, 2, 3]);
            self.asm.mov(Reg::R3, flags);
            self.asm.call_helper(helper_ids::MAP_PUSH_ELEM);
        } else {
            self.buffer(Reg::R2, 12);
            self.asm.load_map(Reg::R1, map);
            let helper = self.random.pick(&[helper_ids::MAP_POP_ELEM, helper_ids::MAP_PEEK_ELEM]);
            self.asm.call_helper(helper);
        }
        self.keep(Reg::R0);
    }

    fn ring(&mut self) {
        let map = map_of(MapKind::Ringbuf);
        self.asm.load_map(Reg::R1, map);
        match self.random.below(3) {
            0 => {
                let bytes = self.some_text(Reg::R2);
                let bytes = if self.random.one_in(5) { 0 } else { bytes };
                self.asm.mov(Reg::R3, bytes as i32);
                let flags = self.random.pick(&[0, 1, 2, 3, 4]);
                self.asm.mov(Reg::R4, flags);
                self.asm.call_helper(helper_ids::RINGBUF_OUTPUT);
                self.keep(Reg::R0);
            }
            1 => {
                let what = self.random.below(5) as i32;
                self.asm.mov(Reg::R2, what);
                self.asm.call_helper(helper_ids::RINGBUF_QUERY);
                self.keep(Reg::R0);
            }
            _ => {
                let bytes = self.random.pick(&[8, 13, 100, 4088, 4089]);
                self.asm.mov(Reg::R2, bytes);
                self.asm.mov(Reg::R3, 0);
                self.asm.call_helper(helper_ids::RINGBUF_RESERVE);
                let (full, end) = (self.asm.new_label(), self.asm.new_label());
                self.asm.jump_if(Cond::Eq, Reg::R0, 0, full);
                self.load_input(Reg::R1);
                self.asm.store(Size::U64, Reg::R0, 0, Reg::R1);
                self.asm.mov(Reg::R1, Reg::R0);
                self.asm.mov(Reg::R2, 0);
                let helper = self.random.pick(&[helper_ids::RINGBUF_SUBMIT, helper_ids::RINGBUF_DISCARD]);
                self.asm.call_helper(helper);
                self.asm.mov(Reg::R7, 1);
                self.asm.jump(end);
                self.asm.bind(full);
                self.asm.mov(Reg::R7, 0);
                self.asm.bind(end);
                self.keep(Reg::R7);
            }
        }
    }

    fn local_storage(&mut self) {
        self.asm.load_map(Reg::R1, map_of(MapKind::CgroupStorage));
        self.asm.mov(Reg::R2, 0);
        self.asm.call_helper(helper_ids::GET_LOCAL_STORAGE);
        self.asm.load(Size::U64, Reg::R1, Reg::R0, 0);
        self.asm.alu(knobgate_bpf::AluOp::Add, Reg::R1, 1);
        self.asm.store(Size::U64, Reg::R0, 0, Reg::R1);
        self.keep(Reg::R1);
    }
}
