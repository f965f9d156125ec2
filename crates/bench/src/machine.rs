//! Where and when it was measured.

use std::error::Error;
use std::process::Command;

use knobgate_kernel::kernel_version;

/// The machine, its kernel, and the day, in one line.
///
/// # Errors
///
/// `/proc/cpuinfo` cannot be read, or date(1) not be started.
pub(crate) fn describe() -> Result<String, Box<dyn Error>> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, name)| name.trim());
    let cpus = std::thread::available_parallelism()?.get();
    let (major, minor, patch) = kernel_version();
    let date = Command::new("date").args(["-u", "+%F"]).output()?;
    let date = String::from_utf8_lossy(&date.stdout);
    Ok(format!("{model} ({cpus} CPUs), Linux {major}.{minor}.{patch}, {}", date.trim()))
}
