//! Sends the event of a decision: finds out whether it may be sent, describes the access in a place of the memory, and gives that
//! to the readers.

use std::ops::Range;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use knobgate_bpf::uapi::{BPF_NOEXIST, TASK_COMM_LEN};
use knobgate_bpf::{
    AluOp, Assembler, AtomicOp, Cond, Insn, Label, Reg, Size, TaskOffsets, helper_ids as helper,
};
use knobgate_events::record::{self, flag, offset};
use knobgate_policy::limits::NAME_MAX;

use super::admit::{self, COUNTERS, FLAGS, KEY, VERDICT};
use super::{EventFacts, NO_PLACE, stash};
use crate::codegen::{context, verifier};
use crate::events::{EVENT_READERS_MAX, EventMap, counters, rules, state};

/// The place in the memory, at an offset where the verifier does not track it.
const SLOT: i16 = -52;
/// The number of a reader.
const NUMBER: i16 = -40;
/// Scratch space for a number, and later the end of the texts.
const SCRATCH: i16 = -64;
const END: i16 = SCRATCH;

/// Emits the function: R1 the context, R2 the offset of the rule's counters, R3 the verdict (16 bits), the errno (16 bits) and
/// flags (32 bits), R4 the place that [stash](super::stash) has taken, or [`NO_PLACE`].
pub(super) fn emit(asm: &mut Assembler, facts: &EventFacts) {
    let out = asm.new_label();
    let mut emitter = Emitter { asm, facts, out };
    emitter.place();
    emitter.task();
    emitter.texts();
    emitter.keep();
    emitter.give_to_readers();
    emitter.exchange_place();
    let Emitter { asm, .. } = emitter;
    asm.bind(out);
    asm.mov(R0, 0);
    asm.exit();
}

/// R6 is the context. R7 is the entry of the rule in the table. R8 is the time until there is a record, and then the record.
struct Emitter<'a> {
    asm: &'a mut Assembler,
    facts: &'a EventFacts,
    /// Where to go if no event is sent.
    out: Label,
}

impl Emitter<'_> {
    fn map(&mut self, into: Reg, map: EventMap) {
        self.asm.load_map(into, self.facts.map(map));
    }

    fn map_value(&mut self, into: Reg, map: EventMap, offset: u32) {
        self.asm.load_map_value(into, self.facts.map(map), offset);
    }

    fn address(&mut self, into: Reg, offset: i16) {
        self.asm.mov(into, R10);
        self.asm.alu(AluOp::Add, into, i32::from(offset));
    }

    /// Finds out whether the event may be sent, and takes a place in the memory, if `stash` has not. Starts the record.
    fn place(&mut self) {
        let (taken, stashed) = (self.asm.new_label(), self.asm.new_label());
        self.asm.store(Size::U32, R10, SLOT, R4);
        admit::key(self.asm, self.facts, self.out);
        admit::find_counters(self.asm, self.facts, self.out);
        self.asm.load(Size::U32, R1, R10, SLOT);
        self.asm.jump32_if(Cond::Ne, R1, NO_PLACE, stashed);
        admit::limit(self.asm, self.out);
        self.asm.store(Size::U64, R10, COUNTERS, R0);
        stash::take_place(self.asm, self.facts, SLOT, self.out);
        self.asm.store(Size::U64, R0, offset::TIME, R8);
        self.asm.mov(R8, R0);
        stash::describe_access(self.asm, self.facts, END);
        self.asm.jump(taken);
        self.asm.bind(stashed);
        self.asm.store(Size::U64, R10, COUNTERS, R0);
        stash::look_up_place(self.asm, self.facts, SLOT, self.out);
        self.asm.store(Size::U64, R0, offset::TIME, R8);
        self.asm.mov(R8, R0);
        self.asm.bind(taken);
        self.asm.load(Size::U64, R2, R10, COUNTERS);
        for (from, to) in [(counters::SENT, offset::SENT), (counters::SUPPRESSED, offset::SUPPRESSED)] {
            self.asm.load(Size::U64, R1, R2, from);
            self.asm.store(Size::U64, R8, to, R1);
        }
        self.asm.mov(R1, i32::from(record::VERSION));
        self.asm.store(Size::U16, R8, offset::VERSION, R1);
        for half in [0, 8] {
            self.asm.load(Size::U64, R1, R10, KEY + half);
            self.asm.store(Size::U64, R8, offset::KEY + half, R1);
        }
        self.map_value(R1, EventMap::State, 0);
        self.asm.load(Size::U64, R1, R1, state::ORIGIN);
        self.asm.store(Size::U64, R8, offset::ORIGIN, R1);
        self.asm.load(Size::U32, R1, R10, VERDICT);
        self.asm.store(Size::U32, R8, offset::VERDICT, R1);
        self.asm.load(Size::U32, R1, R10, FLAGS);
        self.asm.alu(AluOp::Or, R1, self.facts.flags as i32);
        self.asm.load(Size::U32, R2, R8, offset::FLAGS);
        self.asm.alu(AluOp::Or, R1, R2);
        self.asm.store(Size::U32, R8, offset::FLAGS, R1);
        self.asm.load(Size::U32, R1, R7, rules::LINE);
        self.asm.store(Size::U32, R8, offset::LINE, R1);
        self.asm.mov(R1, self.facts.rules as i32);
        self.asm.store(Size::U32, R8, offset::RULES, R1);
    }

    fn set_flags(&mut self, flags: u32) {
        stash::set_flags(self.asm, flags);
    }

    /// Describes the task, and the position.
    fn task(&mut self) {
        let features = self.facts.features;
        match self.facts.options.features.task {
            Some(offsets) => self.members(&offsets),
            None => self.by_helpers(),
        }
        if features.set_retval {
            self.asm.call_helper(helper::GET_RETVAL);
            self.asm.store(Size::U32, R8, offset::RETVAL, R0);
        }
        self.asm.load(Size::U32, R1, R6, context::FILE_POS);
        self.asm.store(Size::U32, R8, offset::POSITION, R1);
        let read = self.asm.new_label();
        self.asm.load(Size::U32, R1, R6, context::WRITE);
        self.asm.jump_if(Cond::Eq, R1, 0, read);
        self.set_flags(flag::WRITE);
        self.asm.bind(read);
    }

    /// Stores the numbers of the task, its user and group, and its name, as the helpers for that give them.
    fn by_helpers(&mut self) {
        if self.facts.options.features.current_pid_tgid {
            self.asm.call_helper(helper::GET_CURRENT_PID_TGID);
            self.asm.store(Size::U64, R8, offset::TID, R0);
        }
        if self.facts.features.current_uid_gid {
            self.asm.call_helper(helper::GET_CURRENT_UID_GID);
            self.asm.store(Size::U64, R8, offset::UID, R0);
        }
        if self.facts.features.current_comm {
            let unnamed = self.asm.new_label();
            self.asm.mov(R1, R8);
            self.asm.alu(AluOp::Add, R1, i32::from(offset::COMM));
            self.asm.mov(R2, TASK_COMM_LEN as i32);
            self.asm.call_helper(helper::GET_CURRENT_COMM);
            self.asm.jump_if(Cond::Ne, R0, 0, unnamed);
            self.set_flags(flag::COMM);
            self.asm.bind(unnamed);
        }
    }

    /// Stores the numbers of the task, its user and group, its name, and its namespaces, out of its structures. That takes a tenth of the time
    /// that the helpers take.
    fn members(&mut self, offsets: &TaskOffsets) {
        self.asm.call_helper(helper::GET_CURRENT_TASK_BTF);
        self.asm.mov(R9, R0);
        self.asm.load(Size::U64, R2, R9, offsets.cred);
        for (structure, member, at) in [
            (R2, offsets.uid, offset::UID),
            (R2, offsets.gid, offset::GID),
            (R9, offsets.tid, offset::TID),
            (R9, offsets.tgid, offset::PID),
        ] {
            self.asm.load(Size::U32, R1, structure, member);
            self.asm.store(Size::U32, R8, at, R1);
        }
        for half in [0, 8] {
            self.asm.load(Size::U64, R1, R9, offsets.comm + half);
            self.asm.store(Size::U64, R8, offset::COMM + half, R1);
        }
        self.namespaces(offsets);
    }

    /// Stores the number of each namespace of the task in R9. A load through a pointer that is null gives 0.
    fn namespaces(&mut self, offsets: &TaskOffsets) {
        let store = |asm: &mut Assembler, index: i16| {
            asm.store(Size::U32, R8, offset::NAMESPACES + 4 * index, R1);
        };
        self.asm.load(Size::U64, R2, R9, offsets.nsproxy);
        for ((index, member), inum) in [0, 1, 2, 5].into_iter().zip(offsets.of_nsproxy).zip(offsets.inums) {
            self.asm.load(Size::U64, R1, R2, member);
            self.asm.load(Size::U32, R1, R1, inum);
            store(self.asm, index);
        }
        self.asm.load(Size::U64, R1, R9, offsets.cred);
        self.asm.load(Size::U64, R1, R1, offsets.user);
        self.asm.load(Size::U32, R1, R1, offsets.user_inum);
        store(self.asm, 3);

        self.pid_namespace(offsets);
    }

    /// Stores the number of the pid namespace: that of the last of the task's numbers. R9 is the task.
    fn pid_namespace(&mut self, offsets: &TaskOffsets) {
        let store = |asm: &mut Assembler| asm.store(Size::U32, R8, offset::NAMESPACES + 16, R1);
        let (found, unknown) = (self.asm.new_label(), self.asm.new_label());
        let number = |index: u8| offsets.numbers + offsets.number_bytes * i16::from(index) + offsets.pid;
        self.asm.load(Size::U64, R2, R9, offsets.thread_pid);
        self.asm.load(Size::U32, R3, R2, offsets.level);
        for level in 0..offsets.typed_numbers {
            let deeper = self.asm.new_label();
            self.asm.jump_if(Cond::Ne, R3, i32::from(level), deeper);
            self.asm.load(Size::U64, R1, R2, number(level));
            self.asm.load(Size::U32, R1, R1, offsets.pid_inum);
            self.asm.jump(found);
            self.asm.bind(deeper);
        }
        // The verifier knows nothing of where the others are.
        self.asm.mov(R1, 0);
        store(self.asm);
        self.asm.mov(R3, R9);
        self.asm.alu(AluOp::Add, R3, i32::from(offsets.thread_pid));
        self.read_kernel(8, unknown);
        self.asm.load(Size::U64, R9, R10, SCRATCH);
        self.asm.mov(R3, R9);
        self.asm.alu(AluOp::Add, R3, i32::from(offsets.level));
        self.read_kernel(4, unknown);
        self.asm.load(Size::U32, R3, R10, SCRATCH);
        self.asm.alu(AluOp::Mul, R3, i32::from(offsets.number_bytes));
        self.asm.alu(AluOp::Add, R3, R9);
        self.asm.alu(AluOp::Add, R3, i32::from(number(0)));
        self.read_kernel(8, unknown);
        self.asm.load(Size::U64, R3, R10, SCRATCH);
        self.asm.alu(AluOp::Add, R3, i32::from(offsets.pid_inum));
        self.read_kernel(4, unknown);
        self.asm.load(Size::U32, R1, R10, SCRATCH);
        self.asm.bind(found);
        store(self.asm);
        self.asm.bind(unknown);
    }

    /// Reads kernel memory at R3 to the scratch space.
    fn read_kernel(&mut self, bytes: i32, failed: Label) {
        self.address(R1, SCRATCH);
        self.asm.mov(R2, bytes);
        self.asm.call_helper(helper::PROBE_READ_KERNEL);
        self.asm.jump_if(Cond::Ne, R0, 0, failed);
    }

    /// Adds the current value, the text of the rule, the name of the policy, and the stored value.
    fn texts(&mut self) {
        let (secret, whole) = (self.asm.new_label(), self.asm.new_label());
        // Where the texts of `stash` end.
        self.asm.load(Size::U16, R1, R8, offset::KNOB_LENGTH);
        verifier::prove_at_most(self.asm, R1, NAME_MAX as i32, self.out);
        self.asm.load(Size::U16, R2, R8, offset::NEW_LENGTH);
        verifier::prove_at_most(self.asm, R2, record::TEXT_MAX as i32, self.out);
        self.asm.alu(AluOp::Add, R1, R2);
        self.asm.alu(AluOp::Add, R1, i32::from(offset::TEXTS));
        self.asm.store(Size::U64, R10, END, R1);
        self.jump_if_flag(flag::SECRET, secret);
        let old = (flag::OLD, offset::OLD_LENGTH, offset::OLD_CUT);
        stash::append_value(self.asm, self.facts, helper::SYSCTL_GET_CURRENT_VALUE, END, old);
        self.asm.bind(secret);
        self.rule();
        self.jump_if_flag(flag::SECRET, whole);
        // Nothing is stored in audit mode.
        self.asm.load(Size::U32, R1, R8, offset::FLAGS);
        self.asm.alu(AluOp::And, R1, flag::AUDIT as i32);
        self.asm.jump_if(Cond::Ne, R1, 0, whole);
        self.asm.load(Size::U16, R1, R8, offset::VERDICT);
        self.asm.jump_if(Cond::Ne, R1, i32::from(record::verdict::REWRITE), whole);
        let stored = (flag::STORED, offset::STORED_LENGTH, offset::STORED_CUT);
        stash::append_value(self.asm, self.facts, helper::SYSCTL_GET_NEW_VALUE, END, stored);
        self.asm.bind(whole);
        self.asm.load(Size::U64, R1, R10, END);
        self.asm.store(Size::U16, R8, offset::SIZE, R1);
        self.asm.load(Size::U64, R1, R8, offset::BEGIN);
        self.asm.store(Size::U64, R8, offset::END, R1);
    }

    /// Goes to `target` if the record has a flag.
    fn jump_if_flag(&mut self, flag: u32, target: Label) {
        self.asm.load(Size::U32, R1, R8, offset::FLAGS);
        self.asm.alu(AluOp::And, R1, flag as i32);
        self.asm.jump_if(Cond::Ne, R1, 0, target);
    }

    /// The text of the rule, and the name of the policy.
    fn rule(&mut self) {
        let none = self.asm.new_label();
        // It may have the secret in it.
        self.jump_if_flag(flag::SECRET, none);
        self.asm.load(Size::U16, R1, R7, rules::CUT);
        self.asm.store(Size::U16, R8, offset::RULE_CUT, R1);
        self.asm.load(Size::U16, R9, R7, rules::LENGTH);
        verifier::prove_at_most(self.asm, R9, record::TEXT_MAX as i32, none);
        self.asm.load(Size::U32, R2, R7, rules::TEXT);
        verifier::prove_at_most(self.asm, R2, self.facts.last_text as i32, none);
        self.map_value(R1, EventMap::Rules, 0);
        self.asm.alu(AluOp::Add, R1, R2);
        const SHORT: i16 = 64;
        let short = self.asm.new_label();
        self.copy_to_end(0..SHORT);
        self.asm.jump_if(Cond::Le, R9, i32::from(SHORT), short);
        self.copy_to_end(SHORT..record::TEXT_MAX as i16);
        self.asm.bind(short);
        self.asm.store(Size::U16, R8, offset::RULE_LENGTH, R9);
        self.advance_end(R9);
        self.asm.bind(none);
        self.map_value(R1, EventMap::Rules, rules::POLICY);
        self.copy_to_end(0..self.facts.policy_name.next_multiple_of(8) as i16);
        self.asm.mov(R1, self.facts.policy_name as i32);
        self.asm.store(Size::U16, R8, offset::POLICY_LENGTH, R1);
        self.advance_end(R1);
    }

    /// Copies these bytes of those at R1 to the end of the texts.
    fn copy_to_end(&mut self, bytes: Range<i16>) {
        self.asm.load(Size::U64, R2, R10, END);
        self.asm.alu(AluOp::Add, R2, R8);
        for at in bytes.step_by(8) {
            self.asm.load(Size::U64, R3, R1, at);
            self.asm.store(Size::U64, R2, at, R3);
        }
    }

    fn advance_end(&mut self, bytes: Reg) {
        self.asm.load(Size::U64, R2, R10, END);
        self.asm.alu(AluOp::Add, R2, bytes);
        self.asm.store(Size::U64, R10, END, R2);
    }

    /// Keeps the first record of the key.
    fn keep(&mut self) {
        let again = self.asm.new_label();
        self.asm.load(Size::U32, R1, R8, offset::FLAGS);
        self.asm.alu(AluOp::And, R1, (flag::FIRST | flag::SHARED) as i32);
        self.asm.jump_if(Cond::Ne, R1, flag::FIRST as i32, again);
        self.map(R1, EventMap::First);
        self.asm.mov(R2, R8);
        self.asm.alu(AluOp::Add, R2, i32::from(offset::KEY));
        self.asm.mov(R3, R8);
        self.asm.mov(R4, BPF_NOEXIST as i32);
        self.asm.call_helper(helper::MAP_UPDATE_ELEM);
        self.asm.bind(again);
    }

    /// Gives the record to the readers.
    fn give_to_readers(&mut self) {
        let none = self.asm.new_label();
        self.map_value(R9, EventMap::Active, 0);
        self.asm.load(Size::U64, R9, R9, 0);
        self.asm.jump_if(Cond::Eq, R9, 0, none);
        for reader in 0..EVENT_READERS_MAX {
            self.give(reader);
        }
        self.asm.bind(none);
    }

    /// Gives the record to a reader, if there is one in this place. Its ring buffer wakes it if it has read everything else. R9 has
    /// a bit for each place with a reader.
    fn give(&mut self, reader: u32) {
        let next = self.asm.new_label();
        self.asm.mov(R1, R9);
        self.asm.alu(AluOp::And, R1, 1 << reader);
        self.asm.jump_if(Cond::Eq, R1, 0, next);
        self.asm.store_imm(Size::U32, R10, NUMBER, reader as i32);
        self.map(R1, EventMap::Readers);
        self.address(R2, NUMBER);
        self.asm.call_helper(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, next);
        self.asm.mov(R1, R0);
        self.asm.mov(R2, R8);
        self.asm.load(Size::U64, R3, R10, END);
        self.asm.mov(R4, 0);
        self.asm.call_helper(helper::RINGBUF_OUTPUT);
        self.asm.jump_if(Cond::Eq, R0, 0, next);
        self.map_value(R1, EventMap::Lost, 8 * reader);
        self.asm.mov(R2, 1);
        self.asm.atomic_add(Size::U64, R1, 0, R2);
        self.asm.bind(next);
    }

    /// Makes the place the last one of the key, and frees the one that was.
    fn exchange_place(&mut self) {
        let (shared, done) = (self.asm.new_label(), self.asm.new_label());
        if self.facts.features.atomic_fetch {
            self.jump_if_flag(flag::SHARED, shared);
            self.asm.load(Size::U64, R2, R10, COUNTERS);
            self.asm.load(Size::U32, R1, R10, SLOT);
            self.asm.alu(AluOp::Add, R1, 1);
            self.asm.emit(Insn::atomic(AtomicOp::Exchange, Size::U32, R2, counters::LAST_PLACE, R1));
            self.asm.jump_if(Cond::Eq, R1, 0, done);
            self.asm.alu(AluOp::Sub, R1, 1);
            self.asm.store(Size::U32, R10, SLOT, R1);
            self.asm.bind(shared);
        }
        self.free_place();
        self.asm.bind(done);
    }

    /// Puts the place at the end of the free ones.
    fn free_place(&mut self) {
        self.map(R1, EventMap::Slots);
        self.address(R2, SLOT);
        self.asm.mov(R3, 0);
        self.asm.call_helper(helper::MAP_PUSH_ELEM);
    }
}

const _: () = {
    assert!(SLOT % 8 != 0);
    assert!(SCRATCH + 8 <= SLOT && FLAGS + 4 <= NUMBER && NUMBER + 4 <= VERDICT);
};
