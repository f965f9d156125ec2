//! Reads and writes for each kind of handler. A row has the value before, the written bytes, their position and
//! `sysctl_writes_strict`; then what write(2) returns, the value afterwards, and the file position.

use knobgate_hook::handler::{Bitmap, Bool, Handler, Hz, IntVec, Text, U8, Uint, UlongVec, Unit};
use knobgate_hook::{AccessMode, Errno, Hook, Knob, Knobs, Process, Profile, WritesStrict};

type Row<'a> = (&'a str, &'a [u8], i64, WritesStrict, i64, &'a str, i64);

use WritesStrict::{Legacy, Strict, Warn};

const EINVAL: i64 = Errno::EINVAL.returned();

/// Performs the accesses of each row on a new knob, whose value before is set by a write.
fn hold(profile: Profile, knob: impl Fn() -> Knob, rows: &[Row<'_>]) {
    for &(before, bytes, position, strict, returned, after, moved) in rows {
        let mut knobs = Knobs::new();
        knobs.add("x", knob()).unwrap();
        let mut hook = Hook::new(profile, knobs);
        let process = hook.spawn(hook.root(), Process::default()).unwrap();
        hook.write_knob(process, "x", before).unwrap();
        hook.writes_strict = strict;
        let mut file = hook.open(process, "x", AccessMode::Write).unwrap();
        file.position = position;
        let outcome = hook.write(process, &mut file, bytes).unwrap();
        let value = String::from_utf8_lossy(&hook.read_knob(process, "x").unwrap().data).into_owned();
        assert_eq!(
            (outcome.returned, value.as_str(), file.position),
            (returned, after, moved),
            "{} at {position} of {before:?}, {strict:?}",
            bytes.escape_ascii()
        );
    }
}

fn knob<H: Handler + Clone + 'static>(handler: H) -> impl Fn() -> Knob {
    move || Knob::new(handler.clone())
}

#[test]
fn strings() {
    hold(
        Profile::default(),
        knob(Text::new("", 8)),
        &[
            ("abc", b"xy", 0, Strict, 2, "xy\n", 2),
            ("abc", b"xy\nz", 0, Strict, 4, "xy\n", 4),
            ("abc", b"xy\0z", 0, Strict, 4, "xy\n", 4),
            ("abc", b"\n", 0, Strict, 1, "\n", 1),
            ("abc", b"", 0, Strict, 0, "abc\n", 0),
            ("abc", b"1234567890", 0, Strict, 10, "1234567\n", 10),
            ("abc", b"xy", 2, Strict, 2, "abxy\n", 4),
            ("abc", b"xy", 3, Strict, 2, "abcxy\n", 5),
            ("abc", b"1234567890", 3, Strict, 10, "abc1234\n", 13),
            // Past the end: nothing is stored, and the position stays.
            ("abc", b"xy", 4, Strict, 2, "abc\n", 4),
            ("abc", b"xy", 1 << 32, Strict, 2, "abc\n", 1 << 32),
            ("abc", b"xy", 2, Warn, 2, "xy\n", 4),
            ("abc", b"xy", 9, Legacy, 2, "xy\n", 11),
        ],
    );
}

#[test]
fn ints() {
    hold(
        Profile::default(),
        knob(IntVec::new([0, 0, 0]).between(-5, 100)),
        &[
            ("1 2 3", b"7 8 9\n", 0, Strict, 6, "7\t8\t9\n", 6),
            ("1 2 3", b"7", 0, Strict, 1, "7\t2\t3\n", 1),
            ("1 2 3", b" \x0b\xa07\t8", 0, Strict, 6, "7\t8\t3\n", 6),
            ("1 2 3", b"0x10 010 -5", 0, Strict, 11, "16\t8\t-5\n", 11),
            // What follows the last number of all is not consumed.
            ("1 2 3", b"7 8 9 10", 0, Strict, 6, "7\t8\t9\n", 6),
            // What was stored before a failure stays.
            ("1 2 3", b"7 8 x", 0, Strict, EINVAL, "7\t8\t3\n", 0),
            ("1 2 3", b"7 101 9", 0, Strict, EINVAL, "7\t2\t3\n", 0),
            ("1 2 3", b"7 8\0", 0, Strict, EINVAL, "7\t2\t3\n", 0),
            ("1 2 3", b" \n", 0, Strict, EINVAL, "1\t2\t3\n", 0),
            ("1 2 3", b"-", 0, Strict, EINVAL, "1\t2\t3\n", 0),
            ("1 2 3", b"", 0, Strict, 0, "1\t2\t3\n", 0),
            ("1 2 3", b"garbage", 1, Strict, 7, "1\t2\t3\n", 8),
            ("1 2 3", b"7", 1, Warn, 1, "7\t2\t3\n", 2),
            ("1 2 3", b"7", 1, Legacy, 1, "7\t2\t3\n", 2),
            ("1 2 3", b"000000000000000000001", 0, Strict, EINVAL, "1\t2\t3\n", 0),
        ],
    );
    hold(
        Profile::default(),
        knob(IntVec::new([0])),
        &[
            ("1", b"2147483647", 0, Strict, 10, "2147483647\n", 10),
            ("1", b"-2147483648", 0, Strict, 11, "-2147483648\n", 11),
            ("1", b"2147483648", 0, Strict, EINVAL, "1\n", 0),
            ("1", b"2 3", 0, Strict, 2, "2\n", 2),
        ],
    );
}

#[test]
fn only_the_first_4095_bytes_of_numbers_are_looked_at() {
    let blanks = |count: usize, rest: &[u8]| [&b" ".repeat(count)[..], rest].concat();
    hold(
        Profile::default(),
        knob(IntVec::new([0])),
        &[
            ("1", &blanks(4094, b"7"), 0, Strict, 4095, "7\n", 4095),
            ("1", &blanks(4094, b"78"), 0, Strict, 4096, "7\n", 4096),
            ("1", &blanks(4095, b"7"), 0, Strict, EINVAL, "1\n", 0),
        ],
    );
}

#[test]
fn unsigned_ints_and_bytes() {
    let rows: &[Row<'_>] = &[
        // The whole length is returned, whatever follows; and the position does not move.
        ("1", b"7", 0, Strict, 1, "7\n", 0),
        ("1", b"7 garbage", 0, Strict, 9, "7\n", 0),
        ("1", b"-7", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"-0", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"7,", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"\n", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"201", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"4294967297", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"", 0, Strict, 0, "1\n", 0),
        ("1", b"7", 2, Strict, 1, "1\n", 3),
        ("1", b"7", 2, Warn, 1, "7\n", 2),
    ];
    hold(Profile::default(), knob(Uint::new(0).between(0, 200)), rows);
    hold(Profile::default(), knob(U8::new(0).between(0, 200)), rows);
    // Since 7.3 they count what they have read, as ints do, and are as strict as they were.
    let rows: &[Row<'_>] = &[
        ("1", b"7", 0, Strict, 1, "7\n", 1),
        ("1", b"7 garbage", 0, Strict, 2, "7\n", 2),
        ("1", b"7 \n\n", 0, Strict, 4, "7\n", 4),
        ("1", b"-7", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"-0", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"7,", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"7\0", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"\n", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"201", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"4294967297", 0, Strict, EINVAL, "1\n", 0),
        ("1", b"", 0, Strict, 0, "1\n", 0),
        ("1", b"7", 2, Strict, 1, "1\n", 3),
        ("1", b"7", 2, Warn, 1, "7\n", 3),
    ];
    let new = || "7.3".parse::<Profile>().unwrap();
    hold(new(), knob(Uint::new(0).between(0, 200)), rows);
    hold(new(), knob(U8::new(0).between(0, 200)), rows);
}

#[test]
fn unsigned_longs() {
    let ulongs = || knob(UlongVec::new([0, 0]).between(0, u64::MAX - 1));
    hold(
        Profile::default(),
        ulongs(),
        &[
            ("1 2", b"7 8 9", 0, Strict, 4, "7\t8\n", 4),
            ("1 2", b"7", 0, Strict, 1, "7\t2\n", 1),
            ("1 2", b"18446744073709551614", 0, Strict, 20, "18446744073709551614\t2\n", 20),
            ("1 2", b"18446744073709551615", 0, Strict, EINVAL, "1\t2\n", 0),
            ("1 2", b"18446744073709551616", 0, Strict, EINVAL, "1\t2\n", 0),
            ("1 2", b"7 -8", 0, Strict, EINVAL, "7\t2\n", 0),
            ("1 2", b"7", 1, Strict, 1, "1\t2\n", 2),
        ],
    );
    hold("5.15".parse().unwrap(), ulongs(), &[("1 2", b"-7 8", 0, Strict, 4, "1\t8\n", 4)]);
}

#[test]
fn bools() {
    hold(
        Profile::default(),
        knob(Bool { value: false }),
        &[
            ("0", b"1\n", 0, Strict, 2, "1\n", 2),
            ("0", b"-7", 0, Strict, 2, "1\n", 2),
            ("1", b"0x0", 0, Strict, 3, "0\n", 3),
            ("1", b"no", 0, Strict, EINVAL, "1\n", 0),
        ],
    );
}

#[test]
fn times() {
    hold(
        Profile::default(),
        knob(IntVec::new([0]).in_unit(Unit::Seconds(Hz::H250))),
        &[
            ("1", b"8589934", 0, Strict, 7, "8589934\n", 7),
            ("1", b"8589935", 0, Strict, EINVAL, "1\n", 0),
            ("1", b"-3", 0, Strict, 2, "-3\n", 2),
        ],
    );
    hold(
        Profile::default(),
        knob(IntVec::new([0]).in_unit(Unit::Milliseconds(Hz::H250))),
        &[("1", b"9", 0, Strict, 1, "12\n", 1), ("8", b"-1", 0, Strict, EINVAL, "8\n", 0)],
    );
    hold(
        Profile::default(),
        knob(IntVec::new([0]).in_unit(Unit::UserTicks(Hz::H250))),
        &[("1", b"7", 0, Strict, 1, "6\n", 1), ("1", b"100", 0, Strict, 3, "100\n", 3)],
    );
}

/// As observed on 6.18.15, 7.2.13 and 7.3.4.
#[test]
fn times_that_are_negative_or_too_large() {
    let rows = |values: [(&'static str, Option<&'static str>); 6]| {
        values.map(|(written, shown)| {
            let bytes = written.as_bytes();
            match shown {
                Some(shown) => ("8", bytes, 0, Strict, bytes.len() as i64, shown, bytes.len() as i64),
                None => ("8", bytes, 0, Strict, EINVAL, "8\n", 0),
            }
        })
    };
    let profile = |name: &str| name.parse::<Profile>().unwrap();
    let numbers = ["-64", "4294967296", "4294967297", "-9999999999", "9223372036854775808", "2147483648"];
    for (name, shown) in [
        ("6.18", [None, Some("0\n"), Some("4\n"), None, Some("0\n"), None]),
        ("7.2", [Some("-64\n"), Some("0\n"), Some("4\n"), Some("-1410065408\n"), Some("0\n"), None]),
        ("7.3", [Some("-64\n"), None, None, None, None, None]),
    ] {
        let knob = knob(IntVec::new([0]).in_unit(Unit::Milliseconds(Hz::H250)));
        let values = std::array::from_fn(|index| (numbers[index], shown[index]));
        hold(profile(name), knob, &rows(values));
    }
    let numbers =
        ["-64", "4294967288", "73786976294838207", "73786976294838206", "858993458", "-73786976294838207"];
    for (name, shown) in [
        (
            "6.18",
            [
                Some("-0\n"),
                Some("858993451\n"),
                Some("0\n"),
                Some("-68719477\n"),
                Some("858993458\n"),
                Some("-0\n"),
            ],
        ),
        ("7.2", [Some("-64\n"), None, Some("0\n"), None, Some("858993458\n"), Some("-0\n")]),
        ("7.3", [Some("-64\n"), None, Some("0\n"), None, Some("858993458\n"), Some("-0\n")]),
    ] {
        let knob = knob(IntVec::new([0]).in_unit(Unit::UserTicks(Hz::H250)));
        let values = std::array::from_fn(|index| (numbers[index], shown[index]));
        hold(profile(name), knob, &rows(values));
    }
}

#[test]
fn bitmaps() {
    // One byte more than is looked at; the last that is may be the beginning of a number, or none.
    let long = |last: u8| [b"3,".as_slice(), &[b'\n'; 4092], &[last, b'\n']].concat();
    hold(
        Profile::default(),
        knob(Bitmap::new(100)),
        &[
            ("1", b"3,5-7\n", 0, Strict, 6, "3,5-7\n", 6),
            ("1", b"7,5,6", 0, Strict, 5, "5-7\n", 5),
            ("1", b"\n", 0, Strict, 1, "\n", 1),
            ("1", b"", 0, Strict, 0, "1\n", 0),
            // At another position it adds, in every mode.
            ("1", b"3", 9, Strict, 1, "1,3\n", 10),
            ("1", b"3", 9, Legacy, 1, "1,3\n", 10),
            ("1", b"2,100", 0, Strict, EINVAL, "1\n", 0),
            ("1", b"7-5", 0, Strict, EINVAL, "1\n", 0),
            ("1", b"2 ", 0, Strict, EINVAL, "1\n", 0),
            ("1", b"2,,3", 0, Strict, EINVAL, "1\n", 0),
            ("1", b"2-3\0", 0, Strict, 4, "2-3\n", 4),
            ("1", b"2\0", 0, Strict, EINVAL, "1\n", 0),
            ("1", &long(b'5'), 0, Strict, 4094, "3\n", 4094),
            ("1", &long(b'x'), 0, Strict, EINVAL, "1\n", 0),
        ],
    );
}

#[test]
fn reads_are_truncated_to_the_buffer() {
    let rows: &[(&str, usize, i64, &str, i64)] = &[
        ("net/ipv4/tcp_rmem", 4096, 0, "4096\t131072\t33554432\n", 21),
        ("net/ipv4/tcp_rmem", 6, 0, "4096\t1", 6),
        ("net/ipv4/tcp_rmem", 5, 0, "4096\t", 5),
        ("net/ipv4/tcp_rmem", 20, 0, "4096\t131072\t33554432", 20),
        ("net/ipv4/tcp_rmem", 4096, 1, "", 1),
        ("net/ipv4/tcp_rmem", 0, 0, "", 0),
        ("kernel/ostype", 4096, 0, "Linux\n", 6),
        ("kernel/ostype", 4096, 3, "ux\n", 6),
        ("kernel/ostype", 4096, 5, "\n", 6),
        ("kernel/ostype", 4096, 6, "", 6),
        ("kernel/ostype", 5, 0, "Linux", 5),
        ("net/ipv4/ip_default_ttl", 1, 0, "6", 1),
        ("net/ipv4/ip_default_ttl", 2, 0, "64", 2),
        ("net/ipv4/ip_default_ttl", 3, 0, "64\n", 3),
    ];
    for &(name, count, position, expected, moved) in rows {
        let mut hook = Hook::default();
        let process = hook.spawn(hook.root(), Process::default()).unwrap();
        let mut file = hook.open(process, name, AccessMode::Read).unwrap();
        file.position = position;
        let data = hook.read(process, &mut file, count).unwrap().data;
        let read = String::from_utf8_lossy(&data);
        assert_eq!((read.as_ref(), file.position), (expected, moved), "{name}, {count} bytes at {position}");
    }
}
