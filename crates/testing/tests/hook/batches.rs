//! Many calls of one helper in one run: names in buffers of every size, and numbers by the thousand.

use knobgate_bpf::{AluOp, Assembler, Cond, MapDef, MapKind, Program, Reg, Size, helper_ids};
use knobgate_hook::Profile;
use knobgate_testing::Random;

/// The buffer sizes for names.
pub(crate) const NAME_SIZES: std::ops::Range<u32> = 1..64;

/// The initial content of results.
pub(crate) const UNTOUCHED: u8 = b'#';

/// How many texts are parsed in one run.
pub(crate) const TEXTS: usize = 512;

/// Bytes of a text to parse; of its entry: length, flags, text; and of its result: return value, number.
const TEXT_BYTES: usize = 96;
const ENTRY_BYTES: usize = 16 + TEXT_BYTES;
const RESULT_BYTES: usize = 16;

fn array(name: &str, value_size: usize, contents: Vec<Vec<u8>>) -> MapDef {
    let max_entries = contents.len() as u32;
    let contents =
        contents.into_iter().zip(0_u32..).map(|(value, index)| (index.to_le_bytes().to_vec(), value));
    MapDef {
        name: name.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: value_size as u32,
        max_entries,
        flags: 0,
        contents: contents.collect(),
        frozen: false,
        ..MapDef::default()
    }
}

/// Fetches the name into a buffer of each size, with these flags, and keeps what is returned before each buffer.
pub(crate) fn names(flags: i32) -> Program {
    let mut asm = Assembler::new();
    asm.mov(Reg::R6, Reg::R1);
    let mut at = 0;
    for size in NAME_SIZES {
        asm.mov(Reg::R1, Reg::R6);
        asm.load_map_value(Reg::R2, 0, at + 8);
        asm.mov(Reg::R3, size as i32);
        asm.mov(Reg::R4, flags);
        asm.call_helper(helper_ids::SYSCTL_GET_NAME);
        asm.load_map_value(Reg::R1, 0, at);
        asm.store(Size::U64, Reg::R1, 0, Reg::R0);
        at = (at + 8 + size).next_multiple_of(8);
    }
    asm.mov(Reg::R0, 1);
    asm.exit();
    let maps = vec![array("results", at as usize, vec![vec![UNTOUCHED; at as usize]])];
    Program { name: "names".to_owned(), maps, ..Program::from(asm.finish(true).expect("it assembles")) }
}

/// Parses random texts with `helper`, `bpf_strtol` or `bpf_strtoul`.
pub(crate) fn numbers(random: &mut Random, profile: &Profile, helper: u32) -> Program {
    let mut asm = Assembler::new();
    let callback = asm.new_label();
    if profile.has_helper(helper_ids::LOOP) {
        asm.mov(Reg::R1, TEXTS as i32);
        asm.load_function(Reg::R2, callback);
        asm.mov(Reg::R3, 0);
        asm.mov(Reg::R4, 0);
        asm.call_helper(helper_ids::LOOP);
    } else {
        let again = asm.new_label();
        asm.mov(Reg::R6, 0);
        asm.bind(again);
        asm.mov(Reg::R1, Reg::R6);
        asm.call(callback);
        asm.alu(AluOp::Add, Reg::R6, 1);
        asm.jump_if(Cond::Lt, Reg::R6, TEXTS as i32, again);
    }
    asm.mov(Reg::R0, 1);
    asm.exit();

    asm.begin_function("parse");
    asm.bind(callback);
    let stop = asm.new_label();
    asm.store(Size::U32, Reg::R10, -4, Reg::R1);
    for (map, kept) in [(1, Reg::R7), (0, Reg::R8)] {
        asm.load_map(Reg::R1, map);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -4);
        asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
        asm.jump_if(Cond::Eq, Reg::R0, 0, stop);
        asm.mov(kept, Reg::R0);
    }
    asm.load(Size::U64, Reg::R2, Reg::R7, 0);
    // Before 6.8, the verifier learns nothing from a comparison with `!= 0`.
    asm.jump_if(Cond::Lt, Reg::R2, 1, stop);
    asm.jump_if(Cond::Gt, Reg::R2, TEXT_BYTES as i32, stop);
    asm.load(Size::U64, Reg::R3, Reg::R7, 8);
    asm.mov(Reg::R1, Reg::R7);
    asm.alu(AluOp::Add, Reg::R1, 16);
    asm.mov(Reg::R4, Reg::R8);
    asm.alu(AluOp::Add, Reg::R4, 8);
    asm.call_helper(helper);
    asm.store(Size::U64, Reg::R8, 0, Reg::R0);
    asm.mov(Reg::R0, 0);
    asm.exit();
    asm.bind(stop);
    asm.mov(Reg::R0, 1);
    asm.exit();

    let entries = (0..TEXTS).map(|_| entry(random)).collect();
    let maps = vec![
        array("results", RESULT_BYTES, vec![vec![UNTOUCHED; RESULT_BYTES]; TEXTS]),
        array("texts", ENTRY_BYTES, entries),
    ];
    Program { name: "numbers".to_owned(), maps, ..Program::from(asm.finish(true).expect("it assembles")) }
}

fn entry(random: &mut Random) -> Vec<u8> {
    let mut text = text(random);
    text.truncate(TEXT_BYTES);
    let length =
        if random.one_in(4) { 1 + random.below(TEXT_BYTES as u64) } else { text.len().max(1) as u64 };
    let flags = match random.below(10) {
        0 => random.pick(&[1, 2, 7, 9, 15, 17, 31, 32, 40, 1 << 32, u64::MAX]),
        1..=3 => random.pick(&[8, 10, 16]),
        _ => 0,
    };
    text.resize(TEXT_BYTES, *random.of(&[&0, &b' ', &b'7', &b'x']));
    [&length.to_le_bytes()[..], &flags.to_le_bytes(), &text].concat()
}

/// Texts that look like numbers, more or less.
fn text(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    while random.one_in(3) {
        text.extend(random.of(&[b" ".as_slice(), b"\t", b"\n", b"\x0b", b"\xa0", b"\r", b"\x85", b"\0"]));
    }
    if random.one_in(4) {
        text.extend(random.of(&[b"-".as_slice(), b"+", b"--", b"- "]));
    }
    if random.one_in(3) {
        text.extend(random.of(&[b"0x".as_slice(), b"0X", b"0", b"0b", b"x", b"00", b"0x0x"]));
    }
    if random.one_in(6) {
        text.extend(vec![b'0'; random.below(75) as usize]);
    }
    let number = random.number();
    text.extend(match random.below(5) {
        0 => format!("{number:x}").into_bytes(),
        1 => format!("{number:o}").into_bytes(),
        2 => format!("{}", number as i64).into_bytes(),
        3 => format!("{number}{}", random.below(100)).into_bytes(),
        _ => number.to_string().into_bytes(),
    });
    if random.one_in(3) {
        text.extend(random.of(&[b" 1".as_slice(), b"g", b"\0", b"8", b"\n", b",5", b"F"]));
    }
    if random.one_in(12) {
        let at = random.below(text.len() as u64) as usize;
        text[at] = random.next_u64() as u8;
    }
    text
}
