//! Timing commands.

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a command takes.
///
/// # Errors
///
/// It fails.
pub(crate) fn time(command: &mut Command) -> Result<Duration, Box<dyn Error>> {
    let begin = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let time = begin.elapsed();
    if output.status.success() {
        Ok(time)
    } else {
        Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
