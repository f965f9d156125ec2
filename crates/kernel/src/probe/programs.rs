//! The programs of the probes. Each needs one feature.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use knobgate_bpf::uapi::bpf_sysctl::{FILE_POS, WRITE};
use knobgate_bpf::uapi::{BPF_CGROUP_SYSCTL, BPF_PROG_TYPE_CGROUP_SYSCTL};
use knobgate_bpf::{
    AluOp, AsmError, Assembler, AtomicOp, Cond, Function, Imm64, Insn, KnobOwner, LineEntry, LineTable,
    Program, Reg, Size, TaskOffsets, Width, emit_length_check, emit_set_new_value, encode, helper_ids,
};

use super::ProbeOutcome;
use crate::load::load as load_program;
use crate::load_error::LoadError;
use crate::load_options::LoadOptions;
use crate::locked_memory::with_raised_limit;
use crate::object::kernel_name;
use crate::sys::bpf::{self, MapSpec, ProgramSpec};

/// A value of the same length as [`REPLACEMENT`].
pub(super) const WRITTEN: &[u8; 24] = b"knobgate-probe-written!\n";
/// What [`rewrite`] replaces every written value with.
pub(super) const REPLACEMENT: &[u8; 24] = b"knobgate-probe-changed!\n";

pub(super) fn load(insns: &[Insn]) -> rustix::io::Result<OwnedFd> {
    let spec = ProgramSpec {
        kind: BPF_PROG_TYPE_CGROUP_SYSCTL,
        expected_attach_type: BPF_CGROUP_SYSCTL,
        insns: &encode(insns),
        license: c"Dual MIT/GPL",
        name: kernel_name("knobgate_probe"),
        debug: None,
    };
    with_raised_limit(|| bpf::prog_load(&spec, None))
}

/// Allows everything.
pub(super) fn allow() -> Vec<Insn> {
    returning_one([])
}

pub(super) fn set_retval() -> Vec<Insn> {
    returning_one([Insn::mov(Width::W64, Reg::R1, -1), Insn::call_helper(helper_ids::SET_RETVAL)])
}

pub(super) fn current_comm() -> Vec<Insn> {
    returning_one([
        Insn::store(Size::U64, Reg::R10, -16, 0),
        Insn::store(Size::U64, Reg::R10, -8, 0),
        Insn::mov(Width::W64, Reg::R1, Reg::R10),
        Insn::alu(Width::W64, AluOp::Add, Reg::R1, -16),
        Insn::mov(Width::W64, Reg::R2, 16),
        Insn::call_helper(helper_ids::GET_CURRENT_COMM),
    ])
}

pub(super) fn current_uid_gid() -> Vec<Insn> {
    returning_one([Insn::call_helper(helper_ids::GET_CURRENT_UID_GID)])
}

pub(super) fn current_pid_tgid() -> Vec<Insn> {
    returning_one([Insn::call_helper(helper_ids::GET_CURRENT_PID_TGID)])
}

/// Lets a helper write a name to uninitialised stack.
pub(super) fn uninit_stack() -> Vec<Insn> {
    returning_one([
        Insn::mov(Width::W64, Reg::R2, Reg::R10),
        Insn::alu(Width::W64, AluOp::Add, Reg::R2, -64),
        Insn::mov(Width::W64, Reg::R3, 64),
        Insn::mov(Width::W64, Reg::R4, 0),
        Insn::call_helper(helper_ids::SYSCTL_GET_NAME),
    ])
}

/// Stores a byte at one of eight offsets.
pub(super) fn variable_stack() -> Vec<Insn> {
    returning_one([
        Insn::store(Size::U64, Reg::R10, -8, 0),
        Insn::load(Size::U32, Reg::R2, Reg::R1, FILE_POS),
        Insn::alu(Width::W64, AluOp::And, Reg::R2, 7),
        Insn::mov(Width::W64, Reg::R3, Reg::R10),
        Insn::alu(Width::W64, AluOp::Add, Reg::R3, Reg::R2),
        Insn::store(Size::U8, Reg::R3, -8, Reg::R2),
    ])
}

pub(super) fn long_jump() -> Vec<Insn> {
    // The first jump makes the instruction that the long one skips reachable.
    returning_one([
        Insn::load(Size::U32, Reg::R2, Reg::R1, WRITE),
        Insn::jump_if(Width::W64, Cond::Eq, Reg::R2, 0, 1),
        Insn::jump_long(1),
        Insn::mov(Width::W64, Reg::R3, 0),
    ])
}

/// Reserves a record in a ring buffer and discards it. The map must be open until the program is loaded.
pub(super) fn ring_buffer() -> rustix::io::Result<(OwnedFd, Vec<Insn>)> {
    const RINGBUF: u32 = 27;
    let spec = MapSpec {
        kind: RINGBUF,
        key_size: 0,
        value_size: 0,
        max_entries: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
        flags: 0,
        name: kernel_name("knobgate_probe"),
        ..MapSpec::default()
    };
    let map = with_raised_limit(|| bpf::map_create(&spec))?;
    let [first, second] = Insn::load_imm64(Reg::R1, Imm64::Map { fd: map.as_raw_fd() });
    let insns = returning_one([
        first,
        second,
        Insn::mov(Width::W64, Reg::R2, 8),
        Insn::mov(Width::W64, Reg::R3, 0),
        Insn::call_helper(helper_ids::RINGBUF_RESERVE),
        Insn::jump_if(Width::W64, Cond::Eq, Reg::R0, 0, 3),
        Insn::mov(Width::W64, Reg::R1, Reg::R0),
        Insn::mov(Width::W64, Reg::R2, 0),
        Insn::call_helper(helper_ids::RINGBUF_DISCARD),
    ]);
    Ok((map, insns))
}

/// Outputs a record to a ring buffer in an array of them, and pops from a queue. The maps must be open until the program is
/// loaded.
pub(super) fn readers() -> rustix::io::Result<(Vec<OwnedFd>, Vec<Insn>)> {
    const ARRAY_OF_MAPS: u32 = 12;
    const QUEUE: u32 = 22;
    let (ring, _) = ring_buffer()?;
    let create = |kind, key_size, inner| {
        let spec = MapSpec {
            kind,
            key_size,
            value_size: 4,
            max_entries: 1,
            flags: 0,
            name: kernel_name("knobgate_probe"),
            inner,
            ..MapSpec::default()
        };
        with_raised_limit(|| bpf::map_create(&spec))
    };
    let rings = create(ARRAY_OF_MAPS, 4, Some(ring.as_fd()))?;
    let queue = create(QUEUE, 0, None)?;
    let load = |map: &OwnedFd| Insn::load_imm64(Reg::R1, Imm64::Map { fd: map.as_raw_fd() });
    let stack = [Insn::mov(Width::W64, Reg::R2, Reg::R10), Insn::alu(Width::W64, AluOp::Add, Reg::R2, -8)];
    let insns = [Insn::store(Size::U64, Reg::R10, -8, 0)]
        .into_iter()
        .chain(load(&queue))
        .chain(stack)
        .chain([Insn::call_helper(helper_ids::MAP_POP_ELEM)])
        .chain([Insn::call_helper(helper_ids::KTIME_GET_BOOT_NS)])
        .chain(load(&rings))
        .chain(stack)
        .chain([
            Insn::call_helper(helper_ids::MAP_LOOKUP_ELEM),
            Insn::jump_if(Width::W64, Cond::Eq, Reg::R0, 0, 6),
            Insn::mov(Width::W64, Reg::R1, Reg::R0),
        ])
        .chain(stack)
        .chain([
            Insn::mov(Width::W64, Reg::R3, 8),
            Insn::mov(Width::W64, Reg::R4, 0),
            Insn::call_helper(helper_ids::RINGBUF_OUTPUT),
        ]);
    let insns = returning_one(insns);
    Ok((vec![rings, queue], insns))
}

/// Takes the old value of a number, in each way in which compiled programs do that.
pub(super) fn atomic_fetch() -> Vec<Insn> {
    returning_one([
        Insn::store(Size::U64, Reg::R10, -8, 0),
        Insn::mov(Width::W64, Reg::R2, 1),
        Insn::atomic(AtomicOp::FetchOr, Size::U64, Reg::R10, -8, Reg::R2),
        Insn::atomic(AtomicOp::FetchAnd, Size::U64, Reg::R10, -8, Reg::R2),
        Insn::atomic(AtomicOp::Exchange, Size::U32, Reg::R10, -8, Reg::R2),
    ])
}

/// Reads the numbers, the name and the user of the task, and finds its namespaces, in both ways in which a program does that. Looks at so many of
/// its ids.
pub(super) fn namespaces(offsets: &TaskOffsets, ids: u8) -> Vec<Insn> {
    let last_id = offsets.numbers + offsets.number_bytes * (i16::from(ids) - 1) + offsets.pid;
    returning_one([
        Insn::call_helper(helper_ids::GET_CURRENT_TASK_BTF),
        Insn::mov(Width::W64, Reg::R6, Reg::R0),
        Insn::load(Size::U64, Reg::R2, Reg::R6, offsets.nsproxy),
        Insn::load(Size::U64, Reg::R1, Reg::R2, offsets.of_nsproxy[0]),
        Insn::load(Size::U32, Reg::R1, Reg::R1, offsets.inums[0]),
        Insn::load(Size::U64, Reg::R2, Reg::R6, offsets.cred),
        Insn::load(Size::U32, Reg::R1, Reg::R2, offsets.uid),
        Insn::load(Size::U32, Reg::R1, Reg::R2, offsets.gid),
        Insn::load(Size::U64, Reg::R1, Reg::R2, offsets.user),
        Insn::load(Size::U32, Reg::R1, Reg::R1, offsets.user_inum),
        Insn::load(Size::U32, Reg::R1, Reg::R6, offsets.tid),
        Insn::load(Size::U32, Reg::R1, Reg::R6, offsets.tgid),
        Insn::load(Size::U64, Reg::R1, Reg::R6, offsets.comm),
        Insn::load(Size::U64, Reg::R1, Reg::R6, offsets.comm + 8),
        Insn::load(Size::U64, Reg::R2, Reg::R6, offsets.thread_pid),
        Insn::load(Size::U32, Reg::R1, Reg::R2, offsets.level),
        Insn::load(Size::U64, Reg::R1, Reg::R2, last_id),
        Insn::load(Size::U32, Reg::R1, Reg::R1, offsets.pid_inum),
        Insn::mov(Width::W64, Reg::R1, Reg::R10),
        Insn::alu(Width::W64, AluOp::Add, Reg::R1, -8),
        Insn::mov(Width::W64, Reg::R2, 8),
        Insn::mov(Width::W64, Reg::R3, Reg::R6),
        Insn::alu(Width::W64, AluOp::Add, Reg::R3, i32::from(offsets.thread_pid)),
        Insn::call_helper(helper_ids::PROBE_READ_KERNEL),
    ])
}

/// Reads the kernel's memory from the context on, as programs do that look for the network namespace of a knob.
pub(super) fn knob_netns(owner: &KnobOwner) -> Vec<Insn> {
    returning_one([
        Insn::mov(Width::W64, Reg::R3, Reg::R1),
        Insn::alu(Width::W64, AluOp::Add, Reg::R3, i32::from(owner.head)),
        Insn::mov(Width::W64, Reg::R1, Reg::R10),
        Insn::alu(Width::W64, AluOp::Add, Reg::R1, -8),
        Insn::mov(Width::W64, Reg::R2, 8),
        Insn::call_helper(helper_ids::PROBE_READ_KERNEL),
        Insn::load(Size::U64, Reg::R3, Reg::R10, -8),
        Insn::alu(Width::W64, AluOp::Add, Reg::R3, i32::from(owner.set)),
        Insn::mov(Width::W64, Reg::R1, Reg::R10),
        Insn::alu(Width::W64, AluOp::Add, Reg::R1, -8),
        Insn::mov(Width::W64, Reg::R2, 8),
        Insn::call_helper(helper_ids::PROBE_READ_KERNEL),
    ])
}

/// Replaces a written value with [`REPLACEMENT`], with the same instructions as compiled policies: the verifier does
/// not know the length, which some verifiers reject.
pub(super) fn rewrite() -> Result<Vec<Insn>, AsmError> {
    // With room for the NUL.
    const BUFFER_BYTES: i16 = REPLACEMENT.len() as i16 + 8;
    let mut asm = Assembler::new();
    let pass = asm.new_label();
    asm.mov(Reg::R6, Reg::R1);
    asm.load(Size::U32, Reg::R2, Reg::R6, WRITE);
    asm.jump_if(Cond::Eq, Reg::R2, 0, pass);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, i32::from(-BUFFER_BYTES));
    asm.mov(Reg::R3, i32::from(BUFFER_BYTES));
    asm.call_helper(helper_ids::SYSCTL_GET_NEW_VALUE);
    asm.mov(Reg::R7, Reg::R0);
    emit_length_check(&mut asm, Reg::R7, i32::from(BUFFER_BYTES) - 1, pass);
    for (word, offset) in REPLACEMENT.as_chunks::<8>().0.iter().zip((-BUFFER_BYTES..).step_by(8)) {
        asm.load_imm64(Reg::R3, u64::from_ne_bytes(*word));
        asm.store(Size::U64, Reg::R10, offset, Reg::R3);
    }
    emit_set_new_value(&mut asm, Reg::R6, -BUFFER_BYTES, Reg::R7, pass);
    asm.bind(pass);
    asm.mov(Reg::R0, 1);
    asm.exit();
    Ok(asm.finish(false)?.insns)
}

/// Whether the kernel accepts line information.
pub(super) fn line_info() -> ProbeOutcome {
    let program = Program {
        name: "knobgate_probe".to_owned(),
        insns: allow(),
        functions: vec![Function { name: "main".to_owned(), start: 0 }],
        lines: LineTable {
            file: "probe.knob".to_owned(),
            entries: vec![LineEntry { insn: 0, line: 1, column: 1, text: "policy probe".to_owned() }],
        },
        ..Program::default()
    };
    match load_program(&program, &LoadOptions::default()) {
        Ok(loaded) if loaded.has_line_info => ProbeOutcome::Yes,
        Ok(_) => ProbeOutcome::No,
        Err(error) => ProbeOutcome::Unknown(error.to_string()),
    }
}

/// Whether a subprogram may be the callback of `bpf_loop`, and write to the stack of the main function.
pub(super) fn bpf_loop() -> ProbeOutcome {
    let mut asm = Assembler::new();
    let body = asm.new_label();
    asm.begin_function("main");
    asm.store_imm(Size::U64, Reg::R10, -8, 0);
    asm.mov(Reg::R1, 3);
    asm.load_function(Reg::R2, body);
    asm.mov(Reg::R3, Reg::R10);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::LOOP);
    asm.mov(Reg::R0, 1);
    asm.exit();
    asm.begin_function("body");
    asm.bind(body);
    asm.store(Size::U32, Reg::R2, -4, Reg::R1);
    asm.mov(Reg::R0, 0);
    asm.exit();
    let code = match asm.finish(false) {
        Ok(code) => code,
        Err(error) => return ProbeOutcome::Unknown(error.to_string()),
    };
    let program = Program {
        name: "knobgate_probe".to_owned(),
        insns: code.insns,
        functions: code.functions,
        ..Program::default()
    };
    match load_program(&program, &LoadOptions::default()) {
        Ok(_) => ProbeOutcome::Yes,
        Err(LoadError::Rejected { .. } | LoadError::NotPermitted { .. } | LoadError::Unsupported { .. }) => {
            ProbeOutcome::No
        }
        Err(error) => ProbeOutcome::Unknown(error.to_string()),
    }
}

pub(super) fn returning_one(insns: impl IntoIterator<Item = Insn>) -> Vec<Insn> {
    insns.into_iter().chain([Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()]).collect()
}
