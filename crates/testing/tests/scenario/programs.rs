//! The setting that most scenarios here share: knobs that are private to a namespace, small programs, cgroups.

use knobgate_bpf::{AluOp, Assembler, Cond, Program, Reg, Size, helper_ids};
use knobgate_scenario::{
    Document, HandlerDocument, HandlerKind, Integer, KnobDocument, MapDocument, ProgramDocument,
};
use knobgate_testing::profile;

/// Whether this kernel has the knob. Kernels before 5.14 lack `net/ipv4/fib_multipath_hash_fields`; they have the others.
pub(crate) fn is_here(knob: &str) -> bool {
    knob != "net/ipv4/fib_multipath_hash_fields"
        || std::fs::exists(format!("/proc/sys/{knob}")).unwrap_or(false)
}

/// Knobs of several kinds, the programs below, and the cgroups `/a`, `/a/b`, `/a/b/c` and `/d`.
pub(crate) fn setting() -> Document {
    Document {
        knobs: vec![
            knob("kernel/domainname", "one", kind(HandlerKind::String, None, None, Some(65))),
            knob("net/core/somaxconn", "4096", kind(HandlerKind::Int, Some(0), Some(i32::MAX.into()), None)),
            knob("net/ipv4/ip_default_ttl", "64", kind(HandlerKind::U8, Some(1), Some(255), None)),
            knob(
                "net/ipv4/tcp_rmem",
                "4096 131072 33554432",
                kind(HandlerKind::Int, Some(profile().tcp_rmem_min.into()), Some(i32::MAX.into()), None),
            ),
            knob("net/ipv4/tcp_keepalive_time", "7200", kind(HandlerKind::Jiffies, None, None, None)),
            knob("net/ipv4/icmp_ratelimit", "1000", kind(HandlerKind::MsJiffies, None, None, None)),
            knob("net/ipv4/neigh/lo/locktime", "100", kind(HandlerKind::UserHzJiffies, None, None, None)),
            knob("net/ipv4/ip_local_reserved_ports", "1,3-5", kind(HandlerKind::Bitmap, None, None, None)),
            knob("kernel/shmmax", "1000000", kind(HandlerKind::Ulong, None, None, None)),
            knob(
                "net/ipv4/fib_multipath_hash_fields",
                "7",
                kind(HandlerKind::Uint, Some(1), Some(0xFFF), None),
            ),
            KnobDocument {
                mode: Some("0444".to_owned()),
                ..knob("kernel/ostype", "Linux", kind(HandlerKind::String, None, None, Some(65)))
            },
        ]
        .into_iter()
        .filter(|knob| is_here(&knob.name))
        .collect(),
        maps: vec![
            map("array", "array", 4, 8, 2),
            map("percpu", "percpu_array", 4, 8, 2),
            map("hash", "hash", 32, 8, 8),
            map("queue", "queue", 0, 8, 4),
            map("stack", "stack", 0, 8, 4),
            map("ring", "ringbuf", 0, 0, 4096),
            map("lru", "lru_hash", 8, 8, 64),
        ],
        programs: [
            ("allow", returning(1, |_| {})),
            ("allow too", returning(1, |_| {})),
            ("allow as well", returning(1, |_| {})),
            ("deny", returning(0, |_| {})),
            ("ENOENT", returning(1, |asm| set_retval(asm, -2))),
            ("undo", returning(1, |asm| set_retval(asm, 0))),
            ("return 5", returning(1, |asm| set_retval(asm, 5))),
            ("return -5000", returning(1, |asm| set_retval(asm, -5000))),
            ("an errno without a name", returning(1, |asm| set_retval(asm, -4000))),
            ("set 7", returning(1, |asm| set_new_value(asm, b"7\n"))),
            ("set a long value", returning(1, |asm| set_new_value(asm, b"1234\n\n\n"))),
            (
                "to position 1",
                returning(1, |asm| {
                    asm.mov(Reg::R2, 1);
                    asm.store(Size::U32, Reg::R1, 4, Reg::R2);
                }),
            ),
            ("count", counting(0)),
            ("count per processor", counting(1)),
            ("hash names", hashing()),
            ("queue positions", pushing(3)),
            ("stack positions", pushing(4)),
            ("report names", reporting()),
        ]
        .into_iter()
        .map(|(name, program)| (name.to_owned(), program))
        .collect(),
        cgroups: vec!["a/b/c".to_owned(), "d".to_owned()],
        ..Document::default()
    }
}

fn knob(name: &str, value: &str, handler: HandlerDocument) -> KnobDocument {
    KnobDocument { name: name.to_owned(), value: Some(value.into()), mode: None, handler }
}

fn kind(kind: HandlerKind, min: Option<i128>, max: Option<i128>, max_len: Option<u32>) -> HandlerDocument {
    HandlerDocument {
        kind,
        len: None,
        min: min.map(Integer),
        max: max.map(Integer),
        max_len,
        read_error: None,
    }
}

pub(crate) fn map(name: &str, kind: &str, key_size: u32, value_size: u32, max_entries: u32) -> MapDocument {
    MapDocument {
        name: name.to_owned(),
        kind: kind.to_owned(),
        key_size,
        value_size,
        max_entries,
        frozen: false,
        entries: Vec::new(),
    }
}

/// What is assembled, as a program of a scenario.
pub(crate) fn assembled(write: impl FnOnce(&mut Assembler)) -> ProgramDocument {
    let mut asm = Assembler::new();
    write(&mut asm);
    ProgramDocument::from(&Program::from(asm.finish(false).expect("it assembles")))
}

/// Does something, and returns.
fn returning(value: i32, act: impl FnOnce(&mut Assembler)) -> ProgramDocument {
    assembled(|asm| {
        act(asm);
        asm.mov(Reg::R0, value);
        asm.exit();
    })
}

fn set_retval(asm: &mut Assembler, value: i32) {
    asm.mov(Reg::R1, value);
    asm.call_helper(helper_ids::SET_RETVAL);
}

/// A text at the top of the stack, in words of eight bytes; how far below the frame pointer.
fn on_stack(asm: &mut Assembler, text: &[u8]) -> i32 {
    let words = text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let words: Vec<u64> = words.collect();
    let bytes = words.len() as i16 * 8;
    for (index, word) in words.into_iter().enumerate() {
        asm.load_imm64(Reg::R2, word);
        asm.store(Size::U64, Reg::R10, index as i16 * 8 - bytes, Reg::R2);
    }
    bytes.into()
}

fn set_new_value(asm: &mut Assembler, value: &[u8]) {
    let below = on_stack(asm, value);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -below);
    asm.mov(Reg::R3, value.len() as i32);
    asm.call_helper(helper_ids::SYSCTL_SET_NEW_VALUE);
}

/// Adds one to the first value of a map.
fn counting(map: usize) -> ProgramDocument {
    returning(1, |asm| {
        let missing = asm.new_label();
        asm.store_imm(Size::U32, Reg::R10, -4, 0);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -4);
        asm.load_map(Reg::R1, map);
        asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
        asm.jump_if(Cond::Eq, Reg::R0, 0, missing);
        asm.mov(Reg::R1, 1);
        asm.atomic_add(Size::U64, Reg::R0, 0, Reg::R1);
        asm.bind(missing);
    })
}

/// The base name of the knob at 32 bytes below the frame pointer, zeros after it.
fn base_name(asm: &mut Assembler) {
    for word in 1..=4 {
        asm.store_imm(Size::U64, Reg::R10, word * -8, 0);
    }
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -32);
    asm.mov(Reg::R3, 32);
    asm.mov(Reg::R4, 1);
    asm.call_helper(helper_ids::SYSCTL_GET_NAME);
}

/// Keeps the length that the name of the knob has, under its name.
fn hashing() -> ProgramDocument {
    returning(1, |asm| {
        base_name(asm);
        asm.store(Size::U64, Reg::R10, -40, Reg::R0);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -32);
        asm.mov(Reg::R3, Reg::R10);
        asm.alu(AluOp::Add, Reg::R3, -40);
        asm.mov(Reg::R4, 0);
        asm.load_map(Reg::R1, 2);
        asm.call_helper(helper_ids::MAP_UPDATE_ELEM);
    })
}

/// Pushes the position.
fn pushing(map: usize) -> ProgramDocument {
    returning(1, |asm| {
        asm.load(Size::U32, Reg::R2, Reg::R1, 4);
        asm.store(Size::U64, Reg::R10, -8, Reg::R2);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -8);
        asm.mov(Reg::R3, 0);
        asm.load_map(Reg::R1, map);
        asm.call_helper(helper_ids::MAP_PUSH_ELEM);
    })
}

/// Sends the name through the ring buffer.
fn reporting() -> ProgramDocument {
    returning(1, |asm| {
        base_name(asm);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -32);
        asm.mov(Reg::R3, 32);
        asm.mov(Reg::R4, 0);
        asm.load_map(Reg::R1, 5);
        asm.call_helper(helper_ids::RINGBUF_OUTPUT);
    })
}
