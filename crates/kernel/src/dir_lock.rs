//! Locks on directories, which are waited for with patience: a process that is stopped keeps what it has locked.

use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Stat, flock, fstat, major, minor};
use rustix::io::Errno;

use crate::bpffs::{BpffsError, failed};
use crate::process_id::ProcessId;

/// The first pause between two tries. Each is twice the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// How long locks are waited for.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// The last wait was in vain, so the next lock is only tried: whoever has much to lock must not wait for each.
    is_lost: AtomicBool,
}

/// Who has locked something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// The process that has taken the lock. A child of it may be the one that has it still.
    pub process: ProcessId,
    /// The name that it gave itself; empty if it has ended.
    pub name: String,
    /// Whether it is stopped, by a signal or a debugger.
    pub is_stopped: bool,
}

impl Patience {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, is_lost: AtomicBool::new(false) }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Locks a directory until it is closed, and with it all its duplicates.
    pub(crate) fn lock(&self, directory: &OwnedFd, path: &Path) -> Result<(), BpffsError> {
        let began = Instant::now();
        let limit = if self.is_lost.load(Ordering::Relaxed) { Duration::ZERO } else { self.limit };
        let mut pause = FIRST_PAUSE;
        loop {
            match flock(directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    self.is_lost.store(false, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if began.elapsed() < limit => {
                    sleep(pause);
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                Err(Errno::WOULDBLOCK) => {
                    self.is_lost.store(true, Ordering::Relaxed);
                    let holder = fstat(directory).ok().and_then(|stat| LockHolder::of(&stat));
                    return Err(BpffsError::Locked { path: path.to_owned(), waited: self.limit, holder });
                }
                Err(error) => return Err(failed("lock", path)(error)),
            }
        }
    }
}

impl LockHolder {
    /// Who has locked the file with flock(2); `None` if that cannot be found out, such as in another pid namespace.
    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        let process = holder_in(&fs::read_to_string("/proc/locks").ok()?, stat)?;
        let name = fs::read(format!("/proc/{process}/comm")).unwrap_or_default();
        Some(Self {
            process,
            name: String::from_utf8_lossy(name.trim_ascii_end()).into_owned(),
            is_stopped: is_stopped(&fs::read(format!("/proc/{process}/stat")).unwrap_or_default()),
        })
    }
}

/// The process that holds a lock of flock(2) on a file, by `/proc/locks` (proc_locks(5)). Those that wait have an arrow.
fn holder_in(locks: &str, stat: &Stat) -> Option<ProcessId> {
    let file = format!("{:02x}:{:02x}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == "FLOCK").then_some(())?;
        let process = fields.nth(2)?.parse::<i64>().ok()?;
        (fields.next()? == file).then_some(())?;
        ProcessId::new(process)
    })
}

/// Whether a process is stopped, by its `/proc/PID/stat`. Its name, which can contain anything, ends with the last parenthesis.
fn is_stopped(stat: &[u8]) -> bool {
    let after_name = stat.iter().rposition(|&byte| byte == b')').map(|at| &stat[at + 1..]);
    after_name.is_some_and(|fields| matches!(fields.trim_ascii_start().first(), Some(b'T' | b't')))
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, name, is_stopped } = self;
        match (&**name, is_stopped) {
            ("", _) => {
                write!(f, "process {process}, which has ended, and a child of it still has it: end that")
            }
            (_, true) => write!(
                f,
                "process {process} ({name}), which is stopped: let it go on with `kill -CONT {process}`, or end it"
            ),
            (_, false) => {
                write!(f, "process {process} ({name}): try again when it is done, or end it if it hangs")
            }
        }
    }
}

/// Who has a lock, in words.
pub(crate) fn by(holder: Option<&LockHolder>) -> String {
    match holder {
        Some(holder) => holder.to_string(),
        None => "one that is not visible here; lslocks(8) shows it on the host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn opened(directory: &Path) -> OwnedFd {
        File::open(directory).unwrap().into()
    }

    #[test]
    fn a_lock_that_another_has_is_waited_for_once() {
        let directory = std::env::temp_dir().join(format!("knobgate-test-lock-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let (first, second) = (opened(&directory), opened(&directory));
        fs::remove_dir(&directory).unwrap();
        let patience = Patience::new(Duration::from_millis(1));
        patience.lock(&first, &directory).unwrap();
        let error = patience.lock(&second, &directory).unwrap_err();
        let BpffsError::Locked { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_eq!((holder.process, holder.is_stopped), (ProcessId::this(), false), "{error}");
        assert!(patience.is_lost.load(Ordering::Relaxed));
        drop(first);
        patience.lock(&second, &directory).unwrap();
        assert!(!patience.is_lost.load(Ordering::Relaxed), "the next one is waited for");
    }

    #[test]
    fn the_holder_is_told_from_those_that_wait_and_from_other_locks() {
        let directory = std::env::temp_dir();
        let mut stat = fstat(opened(&directory)).unwrap();
        (stat.st_dev, stat.st_ino) = (rustix::fs::makedev(0, 0x12), 345);
        let locks = "1: POSIX  ADVISORY  WRITE 10 00:12:345 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 11 00:12:3456 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 12 00:12:345 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 13 00:12:345 0 EOF\n";
        assert_eq!(holder_in(locks, &stat).map(ProcessId::get), Some(12));
        assert_eq!(holder_in("3: -> FLOCK  ADVISORY  WRITE 13 00:12:345 0 EOF\n", &stat), None);
        assert_eq!(holder_in("", &stat), None);
        assert!(is_stopped(b"7 (a) S b) T 1 2\n") && !is_stopped(b"7 (a) T) S 1 2\n") && !is_stopped(b""));
    }

    #[test]
    fn it_is_said_what_to_do() {
        let holder = |name: &str, is_stopped| LockHolder {
            process: ProcessId::new(7).unwrap(),
            name: name.to_owned(),
            is_stopped,
        };
        for (holder, expected) in [
            (
                Some(holder("sh", true)),
                "process 7 (sh), which is stopped: let it go on with `kill -CONT 7`, or end it",
            ),
            (Some(holder("sh", false)), "process 7 (sh): try again when it is done, or end it if it hangs"),
            (Some(holder("", false)), "process 7, which has ended, and a child of it still has it: end that"),
            (None, "one that is not visible here; lslocks(8) shows it on the host"),
        ] {
            assert_eq!(by(holder.as_ref()), expected);
        }
    }
}
