//! The process in private namespaces, which does the same to the kernel and to the model.

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::process::ExitCode;

use knobgate_hook::{Hook, Knobs, OpenFile, Outcome, Process, ProcessId, Profile, Wanted};

use crate::odd::{self, Kind, Random};
use crate::semaphores;

/// The argument that makes the test binary the player.
pub(crate) const ARGUMENT: &str = "--be-the-player";

/// How many differences are told before it is enough.
const ENOUGH: usize = 20;

/// More than what any of the knobs has to say.
const ALL_BYTES: usize = 1 << 14;

/// The knobs, all of them private to a network, UTS or IPC namespace.
const KNOBS: &[(&str, Kind)] = &[
    ("kernel/hostname", Kind::Text),
    ("kernel/domainname", Kind::Text),
    ("kernel/msgmax", Kind::Numbers),
    ("kernel/msgmnb", Kind::Numbers),
    ("kernel/sem", Kind::Numbers),
    ("kernel/shmmax", Kind::Numbers),
    ("kernel/shmall", Kind::Numbers),
    ("kernel/shm_rmid_forced", Kind::Numbers),
    ("net/core/rps_default_mask", Kind::Mask),
    ("net/core/somaxconn", Kind::Numbers),
    ("net/ipv4/conf/default/tag", Kind::Numbers),
    ("net/ipv4/fib_multipath_hash_fields", Kind::Numbers),
    ("net/ipv4/ip_default_ttl", Kind::Numbers),
    ("net/ipv4/ip_local_reserved_ports", Kind::Ranges),
    ("net/ipv4/neigh/lo/retrans_time", Kind::Numbers),
    ("net/ipv4/route/flush", Kind::Numbers),
    ("net/ipv4/tcp_fin_timeout", Kind::Numbers),
    ("net/ipv4/tcp_keepalive_time", Kind::Numbers),
    ("net/ipv4/tcp_rmem", Kind::Numbers),
    ("net/ipv4/tcp_wmem", Kind::Numbers),
    ("net/ipv6/route/gc_min_interval_ms", Kind::Numbers),
];

/// One access.
#[derive(Debug)]
enum Access {
    Read { count: usize, position: i64, moves: bool },
    Write { bytes: Vec<u8>, position: i64, moves: bool },
}

/// What came of it: what the system call returned and read, the file position, and then the value of the knob.
#[derive(Debug, PartialEq, Eq)]
struct Result {
    returned: i64,
    data: Vec<u8>,
    position: i64,
    value: Vec<u8>,
}

/// Makes so many accesses to each knob, and says what is different.
pub(crate) fn play(seed: u64, accesses: u64) -> ExitCode {
    let mut knobs = Knobs::usual();
    knobs.add("kernel/sem", semaphores::knob()).expect("there is none");
    let mut hook = Hook::new(Profile::default(), knobs);
    let process = hook.spawn(hook.root(), Process::default()).expect("the root is there");
    let mut random = Random(seed);
    let mut differences = 0;
    for &(name, kind) in KNOBS {
        if std::fs::metadata(path(name)).is_err() {
            println!("this kernel has no {name}");
            continue;
        }
        start_alike(&mut hook, process, name);
        for _ in 0..accesses {
            let access = any_access(&mut random, kind);
            let before = value_in_kernel(name);
            let (real, model) = (in_kernel(name, &access), in_model(&mut hook, process, name, &access));
            if real != model {
                let shown = format!("{name}: {access:?}\n  of {}", before.escape_ascii());
                println!("{}\n  kernel {real:?}\n  model  {model:?}", &shown[..shown.len().min(600)]);
                differences += 1;
                start_alike(&mut hook, process, name);
            }
            if differences == ENOUGH {
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} knobs, {accesses} accesses to each, {differences} differences", KNOBS.len());
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn any_access(random: &mut Random, kind: Kind) -> Access {
    let (position, moves) = (odd::position(random), random.one_in(2));
    if random.one_in(3) {
        Access::Read { count: odd::count(random), position, moves }
    } else {
        Access::Write { bytes: odd::value(random, kind), position, moves }
    }
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}

/// Gives the model the kernel's value.
fn start_alike(hook: &mut Hook, process: ProcessId, name: &str) {
    let value = value_in_kernel(name);
    if !value.is_empty() {
        let written = hook.write_knob(process, name, &value).expect("nothing is attached");
        assert_eq!(written.returned, value.len() as i64, "{name} takes its own value");
    }
}

/// All of it in one read, since a second one finds nothing behind the start of a number.
fn value_in_kernel(name: &str) -> Vec<u8> {
    let mut value = vec![0; ALL_BYTES];
    let read = std::fs::File::open(path(name)).and_then(|mut file| file.read(&mut value));
    value.truncate(read.unwrap_or(0));
    value
}

fn returned<T>(result: rustix::io::Result<T>, length: impl FnOnce(T) -> usize) -> i64 {
    result.map_or_else(|errno| -i64::from(errno.raw_os_error()), |value| length(value) as i64)
}

fn in_kernel(name: &str, access: &Access) -> Result {
    let (reads, at, moves) = match *access {
        Access::Read { position, moves, .. } => (true, position, moves),
        Access::Write { position, moves, .. } => (false, position, moves),
    };
    let mut file = match std::fs::OpenOptions::new().read(reads).write(!reads).open(path(name)) {
        Ok(file) => file,
        Err(error) => {
            let errno = error.raw_os_error().expect("it is the kernel's");
            return Result { returned: -i64::from(errno), data: Vec::new(), position: 0, value: Vec::new() };
        }
    };
    if moves {
        file.seek(SeekFrom::Start(at as u64)).expect("any position is fine");
    }
    let mut data = Vec::new();
    let returned = match access {
        Access::Read { count, .. } => {
            data.resize(*count, 0);
            let read = if moves {
                rustix::io::read(file.as_fd(), &mut data[..])
            } else {
                rustix::io::pread(file.as_fd(), &mut data[..], at as u64)
            };
            data.truncate(read.unwrap_or(0));
            returned(read, |length| length)
        }
        Access::Write { bytes, .. } if moves => {
            returned(rustix::io::write(file.as_fd(), bytes), |length| length)
        }
        Access::Write { bytes, .. } => {
            returned(rustix::io::pwrite(file.as_fd(), bytes, at as u64), |length| length)
        }
    };
    let position = file.stream_position().expect("it can be told") as i64;
    Result { returned, data, position, value: value_in_kernel(name) }
}

fn in_model(hook: &mut Hook, process: ProcessId, name: &str, access: &Access) -> Result {
    let wanted = match access {
        Access::Read { .. } => Wanted::Read,
        Access::Write { .. } => Wanted::Write,
    };
    let mut file = match hook.open(process, name, wanted) {
        Ok(file) => file,
        Err(errno) => {
            return Result { returned: errno.returned(), data: Vec::new(), position: 0, value: Vec::new() };
        }
    };
    let Outcome { returned, data, .. } = perform(hook, process, &mut file, access);
    let value = match hook.open(process, name, Wanted::Read) {
        Ok(mut whole) => hook.read(process, &mut whole, ALL_BYTES).expect("nothing is attached").data,
        Err(_) => Vec::new(),
    };
    Result { returned, data, position: file.position, value }
}

fn perform(hook: &mut Hook, process: ProcessId, file: &mut OpenFile, access: &Access) -> Outcome {
    let outcome = match *access {
        Access::Read { count, position, moves: true } => {
            file.position = position;
            hook.read(process, file, count)
        }
        Access::Read { count, position, moves: false } => hook.pread(process, file, count, position),
        Access::Write { ref bytes, position, moves: true } => {
            file.position = position;
            hook.write(process, file, bytes)
        }
        Access::Write { ref bytes, position, moves: false } => hook.pwrite(process, file, bytes, position),
    };
    outcome.expect("nothing is attached")
}
