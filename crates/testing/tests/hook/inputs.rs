//! Random written values and positions: mostly what handlers accept, in all notations, and unusual values close to it.

use knobgate_testing::Random;

/// The kind of a knob's values, so that written values are often valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Numbers,
    Ranges,
    Mask,
}

/// A value to write.
pub(crate) fn value(random: &mut Random, kind: Kind) -> Vec<u8> {
    let mut value = match kind {
        Kind::Text => text(random),
        Kind::Numbers => numbers(random),
        Kind::Ranges => ranges(random),
        Kind::Mask => mask(random),
    };
    match random.below(30) {
        // Across the limit of 4095 parsed bytes.
        0 => {
            let blank = random.of(&[b" ".as_slice(), b"\n", b"0", b"1", b"1,", b"7 "]);
            let times = 4080 / blank.len() + random.below(24) as usize;
            let at = random.below(value.len() as u64 + 1) as usize;
            value.splice(at..at, blank.repeat(times));
        }
        1 if !value.is_empty() => {
            let at = random.below(value.len() as u64) as usize;
            value[at] = random.next_u64() as u8;
        }
        2 => value.truncate(random.below(value.len() as u64 + 1) as usize),
        3 => value.push(0),
        _ => {}
    }
    value
}

/// A position to read or write at.
pub(crate) fn position(random: &mut Random) -> i64 {
    match random.below(20) {
        0..=11 => 0,
        12..=16 => random.below(9) as i64,
        17 => random.below(80) as i64,
        18 => (1 << 32) + random.below(3) as i64,
        _ => i64::MAX - random.below(12) as i64,
    }
}

/// How many bytes to read.
pub(crate) fn count(random: &mut Random) -> usize {
    match random.below(12) {
        0..=4 => 4096,
        5..=9 => random.below(24) as usize,
        10 => 5000,
        _ => (4 << 20) - random.below(2) as usize,
    }
}

fn text(random: &mut Random) -> Vec<u8> {
    let length = if random.one_in(4) { 60 + random.below(10) } else { random.below(12) };
    let mut text: Vec<u8> = (0..length).map(|_| b'a' + random.below(26) as u8).collect();
    if random.one_in(3) {
        let at = random.below(length + 1) as usize;
        text.insert(at, *random.of(&[&b'\n', &0, &b' ', &0xFF]));
    }
    if random.one_in(2) {
        text.push(b'\n');
    }
    text
}

fn numbers(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    if random.one_in(5) {
        text.extend(blank(random));
    }
    let many = if random.one_in(3) { random.below(6) } else { 1 };
    for index in 0..many {
        if index > 0 {
            text.extend(blank(random));
        }
        text.extend(number(random).bytes());
    }
    if random.one_in(2) {
        text.push(b'\n');
    }
    if random.one_in(6) {
        text.extend(blank(random));
    }
    text
}

fn blank(random: &mut Random) -> &'static [u8] {
    if random.one_in(8) {
        random.of(&[b"\x0b".as_slice(), b"\xa0", b"\r", b",", b"\0", b"", b"-", b"\x0c", b"\x85"])
    } else {
        random.of(&[b" ".as_slice(), b"\t", b"\n", b"  ", b" \n", b"\n\n"])
    }
}

fn number(random: &mut Random) -> String {
    if random.one_in(12) {
        return random
            .of(&["-", "--1", "+1", "0x", "0xg", "08", "1e3", "0b1", "x", "-0x", "00x1", "1-", ""])
            .to_owned();
    }
    let value = match random.below(8) {
        0..=3 => random.below(300),
        4 => random.below(1 << 17),
        5 => (1 << random.below(64)) - random.below(2),
        6 => (1_u64 << random.below(64)).wrapping_add(random.below(3)),
        _ => random.of(&[&0, &u64::from(u32::MAX), &u64::MAX, &(1 << 31), &8_589_934, &8_589_935]).to_owned(),
    };
    let sign = if random.one_in(6) { "-" } else { "" };
    let zeros = if random.one_in(10) { "0".repeat(random.below(22) as usize) } else { String::new() };
    match random.below(8) {
        0 => format!("{sign}{zeros}0x{value:x}"),
        1 => format!("{sign}{zeros}0X{value:X}"),
        2 => format!("{sign}{zeros}0{value:o}"),
        3 => format!("{sign}{zeros}{value}"),
        _ => format!("{sign}{value}"),
    }
}

fn ranges(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for index in 0..random.below(5) {
        if index > 0 {
            let between =
                if random.one_in(8) { random.of(&["\n", ",,", " ", "-", "\0", ",\n", ""]) } else { "," };
            text.extend(between.bytes());
        }
        let end = if random.one_in(8) { 65540 } else { 40 };
        let (first, length) = (random.below(end), random.below(4));
        text.extend(if random.one_in(10) {
            number(random).into_bytes()
        } else {
            first.to_string().into_bytes()
        });
        if random.one_in(2) {
            let last = if random.one_in(10) { number(random) } else { (first + length).to_string() };
            text.extend(format!("-{last}").bytes());
        }
    }
    if random.one_in(2) {
        text.push(b'\n');
    }
    text
}

fn mask(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for index in 0..1 + random.below(3) {
        if index > 0 {
            text.extend(if random.one_in(4) { blank(random) } else { b"," });
        }
        let digits = if random.one_in(6) { 7 + random.below(4) } else { random.below(3) };
        for _ in 0..digits {
            let digit = if random.one_in(12) { *random.of(&[&b'x', &b'g', &b'F', &b'-']) } else { b'0' };
            text.push(if random.one_in(2) { b'0' + random.below(4) as u8 } else { digit });
        }
    }
    if random.one_in(2) {
        text.push(b'\n');
    }
    text
}
