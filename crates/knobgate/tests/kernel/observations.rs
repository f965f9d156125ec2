//! What an observer sees, and which of it succeeds.

use std::process::ExitStatus;

use knobgate::event::{CallResult, UnknownResult};
use knobgate::{Observation, Observed};
use knobgate_bpf::helper_ids;
use knobgate_hook::Profile;
use knobgate_testing::{Test, scratch, shell};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[
    ("an_observer_sees_which_writes_succeed", writes),
    ("an_observer_sees_reads_if_asked", reads),
    ("the_result_of_a_system_call_with_several_accesses_is_unknown", several_accesses),
];

/// These also need io_uring.
pub(crate) const IO_URING: &[Test] =
    &[("a_thread_does_not_end_the_access_of_another_one_that_had_its_id", reused_thread_id)];

/// What these tests require.
pub(crate) fn threads_of_events(profile: &Profile) -> Option<String> {
    let has_threads = profile.has_helper(helper_ids::GET_CURRENT_PID_TGID);
    (!has_threads).then(|| format!("{profile} does not tell programs on the hook the thread"))
}

/// What [`IO_URING`] requires: io_uring, of which no knob says before Linux 6.6 whether it is there, and a Python that can call it. Small
/// systems have one without these modules.
pub(crate) fn io_uring(profile: &Profile) -> Option<String> {
    let is_enabled = std::fs::read("/proc/sys/kernel/io_uring_disabled").is_ok_and(|value| value == b"0\n");
    let imported = std::process::Command::new("python3").args(["-c", "import ctypes, mmap, struct"]).output();
    let can_call = imported.is_ok_and(|output| output.status.success());
    threads_of_events(profile)
        .or_else(|| (!is_enabled).then(|| "io_uring is not known to be enabled".to_owned()))
        .or_else(|| (!can_call).then(|| "there is no python3 with ctypes and mmap".to_owned()))
}

/// The accesses of a script: knob, written value, result.
fn observed(script: &str, reads: bool) -> Result<Vec<Access>, Failed> {
    observed_to_end(script, reads).map(|(accesses, _)| accesses)
}

type Access = (String, String, CallResult);

/// The same, with how the script ended.
fn observed_to_end(script: &str, reads: bool) -> Result<(Vec<Access>, ExitStatus), Failed> {
    let cgroup = scratch();
    let mut observation = Observation::of(&cgroup, reads)?;
    assert!(observation.not_traced().is_none(), "{:?}", observation.not_traced());
    let ended = shell(&cgroup, script).status()?;
    let (mut accesses, mut executed) = (Vec::new(), 0);
    let mut consume = |observed| match observed {
        Observed::Access { event, result } => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let new = event.new.map(|new| text(&new.bytes)).unwrap_or_default();
            accesses.push((text(&event.knob.bytes), new, result));
        }
        Observed::Executed { .. } => executed += 1,
        _ => {}
    };
    observation.take(&mut consume);
    let loss = observation.end(&mut consume)?;
    assert_eq!((loss.accesses, loss.results), (0, 0));
    assert!(executed >= 1, "the shell was executed");
    Ok((accesses, ended))
}

fn writes() -> Result<(), Failed> {
    let script =
        "cd /proc/sys/net/ipv4; for ttl in 100 255 256 x; do echo $ttl > ip_default_ttl; done 2>/dev/null";
    let accesses = observed(script, false)?;
    let ttl = |new: &str, result| {
        ("net/ipv4/ip_default_ttl".to_owned(), new.to_owned(), CallResult::Returned(result))
    };
    assert_eq!(accesses, [ttl("100\n", 4), ttl("255\n", 4), ttl("256\n", -22), ttl("x\n", -22)]);
    Ok(())
}

fn reads() -> Result<(), Failed> {
    let accesses = observed("cat /proc/sys/kernel/ostype", true)?;
    let ostype = |result| ("kernel/ostype".to_owned(), String::new(), CallResult::Returned(result));
    let of_ostype: Vec<_> = accesses.into_iter().filter(|(knob, ..)| knob == "kernel/ostype").collect();
    assert_eq!(of_ostype, [ostype(6), ostype(0)]);
    Ok(())
}

fn several_accesses() -> Result<(), Failed> {
    let script = "python3 -c 'import os
source = os.open(\"/proc/sys/kernel/ostype\", os.O_RDONLY)
target = os.open(\"/proc/sys/kernel/domainname\", os.O_WRONLY)
os.sendfile(target, source, None, 6)'";
    let accesses = observed(script, true)?;
    let sent = accesses.iter().filter(|(knob, ..)| knob == "kernel/domainname").collect::<Vec<_>>();
    let unknown = CallResult::Unknown(UnknownResult::SeveralAccesses);
    assert!(
        matches!(&sent[..], [(_, new, result)] if new == "Linux\n" && *result == unknown),
        "{accesses:?}"
    );
    Ok(())
}

/// A thread of io_uring writes, and never returns from a system call. The next process gets its id.
fn reused_thread_id() -> Result<(), Failed> {
    const SCRIPT: &str = r#"
import ctypes, errno, mmap, os, struct, time
IO_URING_SETUP, IO_URING_ENTER, CLONE3, OP_WRITE = 425, 426, 435, 23
libc = ctypes.CDLL(None, use_errno=True)
params = (ctypes.c_uint32 * 30)()
ring = libc.syscall(IO_URING_SETUP, 1, params)
assert ring >= 0, os.strerror(ctypes.get_errno())
queue, entries = mmap.mmap(ring, 4096), mmap.mmap(ring, 4096, offset=0x10000000)
target = os.open("/proc/sys/kernel/domainname", os.O_WRONLY)
text = ctypes.create_string_buffer(b"uring")
struct.pack_into("=BBHiQQI", entries, 0, OP_WRITE, 0, 0, target, 0, ctypes.addressof(text), 5)
tail, array = params[11], params[16]
struct.pack_into("I", queue, array, 0)
struct.pack_into("I", queue, tail, 1)
assert libc.syscall(IO_URING_ENTER, ring, 1, 1, 1, None, 0) == 1
worker, = [tid for tid in map(int, os.listdir("/proc/self/task")) if tid != os.getpid()]
entries.close(); queue.close(); os.close(ring)
while os.path.exists(f"/proc/self/task/{worker}"):
    time.sleep(0.01)
tid = ctypes.c_int32(worker)
arguments = struct.pack("=10Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(tid), 1)
pid = libc.syscall(CLONE3, arguments, len(arguments))
if pid == 0:
    os._exit(0)
if pid == -1 and ctypes.get_errno() == errno.EEXIST:
    os._exit(3)
assert pid == worker, (pid, os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0)
"#;
    /// How the script ends if another process has the id already.
    const TAKEN: i32 = 3;
    for _ in 0..50 {
        let (accesses, ended) = observed_to_end(&format!("exec python3 -c '{SCRIPT}'"), false)?;
        if ended.code() == Some(TAKEN) {
            continue;
        }
        assert!(ended.success(), "{ended}");
        let unknown = CallResult::Unknown(UnknownResult::NotSeen);
        assert_eq!(accesses, [("kernel/domainname".to_owned(), "uring".to_owned(), unknown)]);
        return Ok(());
    }
    Err("other processes took the id each time".into())
}
