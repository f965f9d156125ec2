//! How much memory a policy takes to be compiled: the peak of a process that does it and nothing else.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use knobgate_bench::PolicyText;
use knobgate_policy::{CheckOptions, Source, parse};

use crate::programs;

/// Says to the process that this is what it is for.
const COMPILE_ALONE: &str = "KNOBGATE_BENCH_COMPILE_ALONE";

/// The peak, in MiB, of a process that reads and compiles `policy`.
///
/// # Errors
///
/// There can be no process, or it fails.
pub(crate) fn peak(policy: &PolicyText) -> Result<f64, Box<dyn Error>> {
    let mut process = Command::new(env::current_exe()?)
        .env(COMPILE_ALONE, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    process.stdin.take().ok_or("no standard input")?.write_all(policy.text().as_bytes())?;
    let output = process.wait_with_output()?;
    if !output.status.success() {
        return Err("the process that compiles alone failed".into());
    }
    let kib: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(kib / 1024.0)
}

/// If this is the process of [`peak`]: compiles the policy from standard input and prints the peak until then, in KiB.
/// Says whether it is.
///
/// # Errors
///
/// The policy cannot be compiled, or the peak not be found out.
pub(crate) fn compile_alone() -> Result<bool, Box<dyn Error>> {
    if env::var_os(COMPILE_ALONE).is_none() {
        return Ok(false);
    }
    let text = io::read_to_string(io::stdin())?;
    let file = parse(Source::new("bench.knob", text), &CheckOptions::default())
        .map_err(|errors| format!("{errors:?}"))?;
    let _compiled = knobgate_compiler::compile(&file, &programs::features())?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    println!("{}", peak.ok_or("no VmHWM in /proc/self/status")?.trim());
    Ok(true)
}
