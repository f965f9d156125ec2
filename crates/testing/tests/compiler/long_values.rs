//! Accesses with values that do not fit on the stack of a program, by six processes at the same time. Every one is decided
//! as the policy says, and afterwards no slot for such values is taken.

use std::fs;
use std::io::{self, Read};
use std::process::{Command, ExitCode, Stdio};

use knobgate_compiler::compile_inlining;
use knobgate_kernel::{Link, LoadOptions, load, probe, start_inside};
use knobgate_policy::{CheckOptions, Errno, Source, parse};
use knobgate_testing::{Reaped, number, scratch};
use libtest_mimic::Failed;

use crate::knobs::LONG_SETS;

/// The default of `KNOBGATE_LONG_ACCESSES`: by all processes together.
const ACCESSES: u64 = 60_000;
/// How many processes there are.
const PROCESSES: u64 = 6;
/// How many programs can look at long values at a time.
const SLOTS: u32 = 16;
/// The argument that makes the test binary one of them.
pub(crate) const PROCESS: &str = "--long-values";

const PORTS: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
const DOMAIN: &str = "/proc/sys/kernel/domainname";

const POLICY: &str = "policy t-long
allow write net.ipv4.ip_local_reserved_ports if ranges(new) in 10001..11999
deny(EROFS) write net.ipv4.ip_local_reserved_ports if new matches \"*,22\"
deny(EACCES) read net.ipv4.ip_local_reserved_ports if old contains \"-\"
allow read net.ipv4.ip_local_reserved_ports if old starts with \"10001,10003,\"
set write kernel.domainname to \"replaced\" if new starts with \"xx\"
ignore write kernel.domainname if new starts with \"yy\"
allow read kernel.domainname
";

/// With the conditions inlined, and as data.
pub(crate) fn accesses_at_the_same_time() -> Result<(), Failed> {
    let accesses = number("KNOBGATE_LONG_ACCESSES", ACCESSES)?;
    let file = parse(Source::new("long.knob", POLICY), &CheckOptions::default())?;
    fs::write(PORTS, LONG_SETS[0])?;
    fs::write(DOMAIN, "replaced")?;
    for (inlined, what) in [(usize::MAX, "inlined"), (0, "interpreted")] {
        let cgroup = scratch();
        let compiled = compile_inlining(&file, &probe().features(), inlined)?;
        let loaded = load(compiled.program(), &LoadOptions::default())?;
        let _link = Link::create(&loaded.program, &cgroup)?;
        let start = |accesses: u64, number: u64| -> Result<Reaped, Failed> {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([PROCESS.to_owned(), accesses.to_string(), number.to_string()]);
            command.stdout(Stdio::piped());
            start_inside(&mut command, &cgroup)?;
            Ok(Reaped(command.spawn()?))
        };
        let processes: Vec<Reaped> =
            (0..PROCESSES).map(|number| start(accesses / 2 / PROCESSES, number)).collect::<Result<_, _>>()?;
        for process in processes {
            if let Some(wrong) = outcome(process)? {
                return Err(format!("{what}: {wrong}").into());
            }
        }
        let map = loaded.map("long_values").ok_or("the map of long values")?;
        let value = || -> Result<Vec<u8>, Failed> { Ok(map.lookup(&[0; 4])?.ok_or("its value")?) };
        assert_eq!(value()?[..8], [0; 8], "{what}: no slot is taken");
        assert!(value()?[8..].iter().any(|&byte| byte != 0), "{what}: slots were used");

        // Each bit says that a slot is taken.
        let take = |taken: u64| -> Result<(), Failed> {
            let mut all = value()?;
            all[..8].copy_from_slice(&taken.to_ne_bytes());
            Ok(map.update(&[0; 4], &all)?)
        };
        let last_is_free = !(1_u64 << (SLOTS - 1));
        take(last_is_free)?;
        assert_eq!(outcome(start(70, 0)?)?, None, "{what}: one slot is free");
        assert_eq!(value()?[..8], last_is_free.to_ne_bytes(), "{what}: and is free again");
        take(u64::MAX)?;
        let denied = outcome(start(70, 0)?)?.ok_or("no slot is free")?;
        assert_eq!(denied, "access 0: Err(Some(22)), not Ok(())", "{what}");
        assert_eq!(value()?[..8], [0xff; 8], "{what}: none is given back that was not taken");
    }
    println!("KNOBGATE_LONG_ACCESSES={accesses} by {PROCESSES} processes");
    Ok(())
}

/// What the process says is wrong, at its end.
fn outcome(mut process: Reaped) -> Result<Option<String>, Failed> {
    let output = io::read_to_string(process.0.stdout.take().ok_or("a pipe")?)?;
    let status = process.0.wait()?;
    match (status.success(), output.trim_end()) {
        (true, "") => Ok(None),
        (_, "") => Err(format!("it ended with {status}").into()),
        (_, wrong) => Ok(Some(wrong.to_owned())),
    }
}

/// Runs as one of the processes: the arguments say how many accesses it makes, and which of them it is.
pub(crate) fn run_process() -> ExitCode {
    let arguments: Vec<u64> = std::env::args().skip(2).filter_map(|argument| argument.parse().ok()).collect();
    let [accesses, number] = arguments[..] else { return ExitCode::FAILURE };
    match make_accesses(accesses, number) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            println!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

/// Makes accesses of all kinds. The processes with odd numbers write the longest sets.
fn make_accesses(accesses: u64, number: u64) -> Result<(), String> {
    let set = LONG_SETS[number as usize % 2];
    let with_ssh = set.rsplit_once(',').map(|(others, _)| format!("{others},22\n")).unwrap_or_default();
    let errno = |errno: Errno| Err(Some(errno.number() as i32));
    let long = |start: &str| format!("{start}{}\n", "z".repeat(200 + 137 * number as usize));
    let (replaced, ignored, neither) = (long("xx"), long("yy"), long("zz"));
    let written = |path: &str, value: &str| fs::write(path, value).map_err(|error| error.raw_os_error());
    for access in 0..accesses {
        let (expected, found) = match access % 7 {
            0 | 1 => (Ok(()), written(PORTS, set)),
            2 => (errno(Errno::EROFS), written(PORTS, &with_ssh)),
            3 => (Ok(()), written(DOMAIN, &replaced)),
            4 => (Ok(()), written(DOMAIN, &ignored)),
            5 => (errno(Errno::EPERM), written(DOMAIN, &neither)),
            _ => {
                let ports = read(PORTS).map_err(|error| error.to_string())?;
                // While another process writes, it may be a part of the longer set.
                let mut all = LONG_SETS[1].split(',');
                if !ports.trim_end().split(',').all(|port| all.any(|other| other == port)) {
                    return Err(format!("the knob holds {ports}"));
                }
                let domain = read(DOMAIN).map_err(|error| error.to_string())?;
                if domain != "replaced\n" {
                    return Err(format!("the domain is {domain}"));
                }
                continue;
            }
        };
        if expected != found {
            return Err(format!("access {access}: {found:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// What one system call reads: in parts, the kernel would give the first of them alone.
fn read(path: &str) -> io::Result<String> {
    let mut value = vec![0; 8192];
    let length = fs::File::open(path)?.read(&mut value)?;
    value.truncate(length);
    String::from_utf8(value).map_err(io::Error::other)
}
