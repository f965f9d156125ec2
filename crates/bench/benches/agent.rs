//! How long a new cgroup waits for its policies, and how much memory the agent needs.
//!
//! `cargo bench -p knobgate-bench --bench agent`, as root. `AGENT_POLICIES`, `AGENT_CGROUPS` (those that are there at the start),
//! `AGENT_RATE` (new ones a second) and `AGENT_SECONDS` change what is measured.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use knobgate_agent::{Agent, AgentOptions, Notice, NoticeField, NoticeKind, Reporter};
use knobgate_kernel::{Hierarchy, ScratchCgroup};

const INSIDE: &str = "KNOBGATE_BENCH_INSIDE";

/// When a policy was put on each cgroup.
#[derive(Default)]
struct Attached(Mutex<HashMap<String, Instant>>);

struct Recorder(Arc<Attached>);

impl Reporter for Recorder {
    fn notice(&self, notice: &Notice) {
        if notice.kind == NoticeKind::Attached {
            let cgroup = notice.field(NoticeField::Cgroup).unwrap_or_default().to_owned();
            self.0.0.lock().expect("no panic").insert(cgroup, Instant::now());
        } else {
            println!("{notice}");
        }
    }

    fn attached(&self, _: Duration) {}

    fn reloaded(&self, took: Duration, _: bool) {
        println!("the policies were read and compiled, and put on the cgroups, in {} ms", took.as_millis());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::var_os(INSIDE).is_none() {
        return outside();
    }
    let number =
        |name: &str, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (policies, cgroups) = (number("AGENT_POLICIES", 100), number("AGENT_CGROUPS", 2000));
    let (rate, seconds) = (number("AGENT_RATE", 200), number("AGENT_SECONDS", 10));
    let (directory, top) = (tempfile::tempdir()?, Hierarchy::find()?.path().to_owned());
    for policy in 0..policies {
        fs::write(directory.path().join(format!("p{policy}.knob")), policy_text(policy))?;
    }
    for cgroup in 0..cgroups {
        fs::create_dir(name(&top, "old", cgroup, policies))?;
    }
    println!("{policies} policies, {cgroups} cgroups; {}", memory()?);
    let attached = Arc::new(Attached::default());
    let mut options = AgentOptions::default();
    options.policies = directory.path().to_owned();
    let agent = Agent::start(options, Box::new(Recorder(Arc::clone(&attached))))?;
    println!("started; {}", memory()?);

    let mut made: Vec<(PathBuf, Instant, Instant)> = Vec::new();
    let begin = Instant::now();
    for cgroup in 0..rate * seconds {
        let at = begin + Duration::from_secs(1) * u32::try_from(cgroup)? / u32::try_from(rate)?;
        sleep(at.saturating_duration_since(Instant::now()));
        let path = name(&top, "new", cgroup, policies);
        let before = Instant::now();
        fs::create_dir(&path)?;
        made.push((path, before, Instant::now()));
    }
    sleep(Duration::from_secs(1));
    let seen = attached.0.lock().expect("no panic").clone();
    let missing = made.iter().filter(|(path, ..)| !seen.contains_key(&path.display().to_string())).count();
    let mut latencies: Vec<Duration> = made
        .iter()
        .filter_map(|(path, before, _)| Some(seen.get(&path.display().to_string())?.duration_since(*before)))
        .collect();
    let mut making: Vec<Duration> =
        made.iter().map(|(_, before, after)| after.duration_since(*before)).collect();
    println!("{} new cgroups, {rate} a second; {missing} without a policy", made.len());
    println!("from before mkdir(2) to the last link: {}", percentiles(&mut latencies));
    println!("mkdir(2) itself:                       {}", percentiles(&mut making));
    println!("{}", memory()?);
    for (path, ..) in &made {
        fs::remove_dir(path)?;
    }
    sleep(Duration::from_secs(1));
    println!("without the new cgroups; {}", memory()?);
    println!("{:?}", agent.status(Duration::from_secs(10)).map(|status| status.cgroups));
    agent.stop();
    agent.join()?;
    Ok(())
}

/// Runs this program again, with a cgroup hierarchy, a bpffs and a `/run` of its own.
fn outside() -> Result<(), Box<dyn Error>> {
    let hierarchy = Hierarchy::find()?;
    let scratch = ScratchCgroup::create(&hierarchy.root()?, "knobgate-bench")?;
    let (mount, scratch_path) = (hierarchy.path().display(), scratch.path().display());
    let script = format!(
        "umount {mount} && mount -t cgroup2 none {mount} && mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs run /run && exec \"$0\""
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--cgroup", "--", "sh", "-c", &script])
        .arg(env::current_exe()?)
        .env(INSIDE, "1");
    let procs = PathBuf::from(format!("{scratch_path}/cgroup.procs"));
    let status = Command::new("sh")
        .args(["-c", "echo $$ >\"$0\" && exec \"$@\""])
        .arg(procs)
        .arg(command.get_program())
        .args(command.get_args())
        .env(INSIDE, "1")
        .process_group(0)
        .status()?;
    scratch.finish()?;
    process::exit(status.code().unwrap_or(1));
}

fn name(top: &Path, kind: &str, cgroup: usize, policies: usize) -> PathBuf {
    top.join(format!("{}-{kind}-{cgroup}", cgroup % policies.max(1)))
}

/// A policy with twenty rules for the cgroups that are called after it, as one of its selectors says.
fn policy_text(policy: usize) -> String {
    let mut text = format!(
        "policy p{policy}\napply if cgroup starts with \"/{policy}-\"\napply if container starts with \"web-{policy}-\"\ndefault write deny\n"
    );
    for rule in 0..20 {
        let _ =
            writeln!(text, "allow write net.ipv4.bench_{rule} if 128 <= new <= {}", 65535 - rule - policy);
    }
    text
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let shown = |percent| at(percent).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    format!(
        "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        shown(50),
        shown(90),
        shown(99),
        shown(100)
    )
}

fn memory() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
    };
    Ok(format!(
        "resident {:.1} MiB (at most {:.1}), anonymous {:.1} MiB",
        field("VmRSS:"),
        field("VmHWM:"),
        field("RssAnon:")
    ))
}
