//! Processes, and waiting for them.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Virtual machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
///
/// # Panics
///
/// It does not hold within a minute.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not in a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is running, not a zombie.
pub fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// A child that is killed and reaped on drop.
#[derive(Debug)]
pub struct Reaped(pub Child);

impl Reaped {
    /// Waits until it has ended by itself, or because of a signal.
    ///
    /// # Panics
    ///
    /// It has not ended within a minute. The message says what each of its threads waits in.
    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            let pid = self.0.id();
            assert!(start.elapsed() < PATIENCE, "process {pid} has not ended in a minute: {}", threads(pid));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The threads of a process, each with the function of the kernel that it waits in.
fn threads(pid: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let threads = tasks.map(|task| {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        format!("{} in {}", read("comm").trim_end(), read("wchan"))
    });
    threads.collect::<Vec<_>>().join(", ")
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
