//! The programs in examples/objects, access by access.

use std::error::Error;

use knobgate_backend::{Backend, CgroupId, MapId, Placement, Request};
use knobgate_bpf::{Object, Program};
use knobgate_hook::handler::UlongVec;
use knobgate_hook::{Knob, Knobs, Profile};

/// A program, the initial contents of its maps, and the results of accesses, one after another.
#[derive(Debug)]
pub struct Case {
    /// The file's name, without `.bpf.o`.
    pub object: &'static str,
    /// The file.
    pub bytes: &'static [u8],
    /// The program's name, where the file has several.
    pub program: Option<&'static str>,
    /// What maps hold before: map, key and value; bytes that are not given are zero.
    pub entries: &'static [(&'static str, &'static [u8], &'static [u8])],
    /// The accesses, in order.
    pub accesses: &'static [(Access, Expected)],
}

/// An access to a knob.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// A read of the knob, from its start.
    Read(&'static str),
    /// A write of these bytes to the knob, at this position.
    Write(&'static str, &'static [u8], i64),
}

/// The result of an access.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// The handler's own result.
    Passes,
    /// `EPERM`
    Denied,
    /// What the system call returns.
    Returns(i64),
    /// What is read.
    Reads(&'static str),
}

use Access::{Read, Write};
use Expected::{Denied, Passes, Reads, Returns};

macro_rules! case {
    ($object:literal, $program:expr, $entries:expr, $accesses:expr $(,)?) => {
        Case {
            object: $object,
            bytes: include_bytes!(concat!("../../../examples/objects/", $object, ".bpf.o")),
            program: $program,
            entries: $entries,
            accesses: $accesses,
        }
    };
}

const RMEM: &str = "net/ipv4/tcp_rmem";
const DOMAIN: &str = "kernel/domainname";
const TTL: &str = "net/ipv4/ip_default_ttl";
const TAG: &str = "net/ipv4/conf/default/tag";

/// All cases.
pub const CASES: &[Case] = &[
    // This one the machine has once, in no namespace.
    case!("vectors", None, &[], &[(Read("net/ipv4/tcp_mem"), Passes)]),
    case!(
        "vectors",
        None,
        &[],
        &[
            (Write(RMEM, b"4096 8192 16384\n", 0), Returns(16)),
            (Read(RMEM), Reads("4096\t8192\t16384\n")),
            (Write(RMEM, b"4096\t8192\t0x10000", 0), Returns(17)),
            (Write(RMEM, b"4096 8192 4096\n", 0), Denied),
            (Write(RMEM, b"4096 8192\n", 0), Denied),
            (Write(RMEM, b"4096 8192 many\n", 0), Denied),
            (Write(RMEM, b"4096 8192 4294967297\n", 0), Denied),
            (Write(RMEM, b"1 2 18446744073709551616\n", 0), Denied),
            (Write(RMEM, b"", 0), Denied),
            (Read(RMEM), Reads("4096\t8192\t65536\n")),
            (Write(DOMAIN, b"4 3 2\n", 0), Returns(6)),
        ],
    ),
    case!(
        "whole",
        None,
        &[],
        &[
            (Write(DOMAIN, b"example\n", 0), Returns(8)),
            (Write(DOMAIN, b"s", 7), Returns(5)),
            (Read(DOMAIN), Reads("whole\n")),
            (Write(DOMAIN, b"other", 0), Returns(5)),
            (Read(DOMAIN), Reads("other\n")),
            (Write(DOMAIN, b"", 3), Denied),
        ],
    ),
    case!(
        "names",
        None,
        &[],
        &[
            (Read(DOMAIN), Passes),
            (Write(TTL, b"65", 0), Returns(2)),
            (Read(TTL), Reads("65\n")),
            (Read(TAG), Denied),
            (Write(TAG, b"1\n", 0), Denied),
            (Write("net/ipv4/neigh/lo/retrans_time", b"300\n", 0), Returns(4)),
        ],
    ),
    case!(
        "watch",
        None,
        &[],
        &[
            (Read(TTL), Passes),
            (Write(TTL, b"70\n", 0), Returns(3)),
            (Write(DOMAIN, b"one\n", 0), Returns(4)),
            (Write(TTL, b"71\n", 0), Returns(3)),
            (Write(TTL, b"72\n", 0), Denied),
            (Read(TTL), Reads("71\n")),
            (Write(DOMAIN, b"two\n", 0), Returns(4)),
            (Write(DOMAIN, b"three\n", 0), Denied),
        ],
    ),
    case!("several", Some("read_only"), &[], &[(Read(TTL), Passes), (Write(TTL, b"70\n", 0), Denied)]),
    case!(
        "several",
        Some("hand_on"),
        &[],
        &[
            (Read(DOMAIN), Passes),
            (Write(DOMAIN, b"example\n", 0), Returns(8)),
            (Write(DOMAIN, b"xample\n", 0), Denied),
        ],
    ),
    case!(
        "legacy",
        None,
        &[("kept", b"tag", &[1])],
        &[(Read(TAG), Passes), (Write(TAG, b"1\n", 0), Denied), (Write(TTL, b"66\n", 0), Returns(3)),],
    ),
    case!(
        "kinds",
        None,
        &[
            ("verdicts", b"\x48\0\0\0net/ipv4/", &[0, 0, 0, 0]),
            ("verdicts", b"\x70\0\0\0net/ipv4/conf/", &[1, 0, 0, 0]),
        ],
        &[
            (Write(TTL, b"66\n", 0), Denied),
            (Write(TAG, b"5\n", 0), Returns(2)),
            (Write(TAG, b"6\n", 0), Returns(2)),
            (Write(DOMAIN, b"example\n", 0), Returns(8)),
            (Write(DOMAIN, b"example\n", 0), Returns(8)),
            (Read(TAG), Reads("6\n")),
        ],
    ),
    case!(
        "records",
        None,
        &[],
        &[
            (Read(TTL), Passes),
            (Write(TTL, b"68\n", 0), Returns(3)),
            (Write(DOMAIN, b"example\n", 0), Returns(8)),
            (Read(TAG), Passes),
        ],
    ),
    case!(
        "one_knob",
        None,
        &[],
        &[
            (Read(DOMAIN), Passes),
            (Write(DOMAIN, b"example", 0), Denied),
            (Write(TTL, b"67\n", 0), Returns(3)),
            (Read(TTL), Reads("67\n")),
        ],
    ),
    case!(
        "locks",
        None,
        &[],
        &[
            (Read(DOMAIN), Passes),
            (Write(DOMAIN, b"one\n", 0), Returns(4)),
            (Write(DOMAIN, b"two\n", 0), Returns(4)),
            (Read(DOMAIN), Reads("two\n")),
        ],
    ),
    case!(
        "nested",
        None,
        &[],
        &[
            (Read(DOMAIN), Passes),
            (Write(DOMAIN, b"one\n", 0), Returns(4)),
            (Write(TTL, b"66\n", 0), Returns(3)),
            (Write(DOMAIN, b"two\n", 0), Returns(4)),
        ],
    ),
    case!(
        "pinned",
        None,
        &[("knobgate_test", &[1], &[1])],
        &[
            (Read(DOMAIN), Passes),
            (Write(DOMAIN, b"one\n", 0), Returns(4)),
            (Write(DOMAIN, b"two\n", 0), Returns(4)),
            (Write(DOMAIN, b"three\n", 0), Denied),
        ],
    ),
    case!(
        "context",
        None,
        &[],
        &[
            (Read(DOMAIN), Passes),
            (Write(DOMAIN, b"example", 0), Returns(7)),
            (Write(DOMAIN, b"s", 7), Denied),
        ],
    ),
];

impl Case {
    /// Whether nothing is written, so that the machine's own knobs can be used.
    pub fn only_reads(&self) -> bool {
        self.accesses.iter().all(|(access, _)| matches!(access, Read(_)))
    }

    /// Its program.
    ///
    /// # Errors
    ///
    /// The file is damaged.
    pub fn read(&self) -> Result<Program, knobgate_bpf::ObjectError> {
        Object::read(self.bytes)?.program(self.program)
    }

    /// Plays it on a backend, and returns the maps of the program.
    ///
    /// # Errors
    ///
    /// The first unexpected result.
    pub fn play(&self, backend: &mut dyn Backend) -> Result<Vec<MapId>, Box<dyn Error + Send + Sync>> {
        let program = backend.load(&self.read()?, None)?;
        let maps = backend.maps(program)?.to_vec();
        for (name, key, value) in self.entries {
            let map = find_map(backend, &maps, name).ok_or("no such map")?;
            let def = backend.map_def(map)?;
            let (key, value) = (padded(key, def.key_size), padded(value, def.value_size));
            backend.update_map(map, &key, &value)?;
        }
        backend.link(CgroupId::SCRATCH, program, &Placement::default())?;
        for (access, expected) in self.accesses {
            let (knob, request, position) = match *access {
                Read(knob) => (knob, Request::Read { count: 4096, fill: 0 }, 0),
                Write(knob, bytes, position) => (knob, Request::Write(bytes), position),
            };
            let result = backend.access_knob(CgroupId::SCRATCH, knob, request, position, false)?;
            if let Some(difference) = difference(*expected, result.returned, &result.data) {
                return Err(format!("{access:?}: {difference}").into());
            }
        }
        Ok(maps)
    }
}

/// The map of this name.
fn find_map(backend: &dyn Backend, maps: &[MapId], name: &str) -> Option<MapId> {
    maps.iter().copied().find(|&map| backend.map_def(map).is_ok_and(|def| def.name == name))
}

/// The knobs of the cases on a kernel.
///
/// # Panics
///
/// The defaults have `net/ipv4/tcp_mem` already.
pub fn knobs(profile: &Profile) -> Knobs {
    let mut knobs = Knobs::defaults_for(profile);
    let tcp_mem = Knob::new(UlongVec::new([22_938, 30_584, 45_876]));
    knobs.add("net/ipv4/tcp_mem", tcp_mem).expect("it is not there yet");
    knobs
}

/// A key or value, padded to the size of the map's.
fn padded(bytes: &[u8], size: u32) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(size as usize, 0);
    padded
}

/// The difference from what the system call returned and read, if there is one.
fn difference(expected: Expected, returned: i64, data: &[u8]) -> Option<String> {
    let right = match expected {
        Passes => returned >= 0,
        Denied => returned == -1,
        Returns(expected) => returned == expected,
        Reads(expected) => data == expected.as_bytes(),
    };
    (!right).then(|| format!("{expected:?} was expected, got {returned}, \"{}\"", data.escape_ascii()))
}
