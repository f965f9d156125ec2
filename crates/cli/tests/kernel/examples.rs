use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use knobgate_bpf::Features;
use knobgate_kernel::{LoadOptions, load, probe_cached};
use knobgate_policy::{CheckOptions, Source, parse};
use knobgate_testing::{Test, profile};
use libtest_mimic::Failed;

use crate::setting::{KNOBGATE, decided_by_the_kernel, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("the_kernel_accepts_the_examples", taken),
    ("the_output_of_the_tour_is_true", tour),
    ("the_tour_does_not_write_the_machines_knobs", no_tour),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn taken() -> Result<(), Failed> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "knob") {
            continue;
        }
        let source = Source::new(path.display().to_string(), std::fs::read_to_string(&path)?);
        let file = parse(source, &CheckOptions::default()).map_err(|errors| format!("{errors:?}"))?;
        let compiled = knobgate_compiler::compile(&file, &probe_cached().features())?;
        load(compiled.program(), &LoadOptions::default())?;
        count += 1;
    }
    assert!(count >= 4, "{count}");
    Ok(())
}

fn tour() -> Result<(), Failed> {
    let mut command = Command::new(KNOBGATE);
    command.args(["run", "--policy", "examples/tour.knob", "--"]);
    command.args(["unshare", "--net", "--uts", "--ipc", "sh", "examples/tour.sh"]);
    let output = command.current_dir(directory().join("..")).output()?;
    let Features { set_new_value: rewrites, set_retval, .. } = profile().features();
    let note = format!("note: the policy \"tour\" is {}", decided_by_the_kernel());
    let (warnings, notes): (Vec<_>, Vec<_>) =
        stderr(&output).lines().map(str::to_owned).partition(|line| line.starts_with("warning: "));
    let said = (output.status.code(), notes.first().map(String::as_str));
    assert_eq!(said, (Some(0), Some(note.trim())), "{output:?}");
    // What was denied and rewritten is summed up, where programs send events.
    let sums_up = notes.iter().any(|line| line.contains("write kernel.core_pattern \"|/tmp/x\\n\""));
    assert_eq!(sums_up, probe_cached().event_features().is_some(), "{output:?}");
    let warned_of = |words: &str| warnings.iter().filter(|line| line.contains(words)).count();
    let (dropped, errnos) =
        (warned_of("this kernel drops replacements"), warned_of("denials with EINVAL are EPERM"));
    assert_eq!((dropped, errnos), (if rewrites { 0 } else { 2 }, usize::from(!set_retval)), "{warnings:?}");
    assert_eq!(warnings.len(), dropped + errnos, "{warnings:?}");
    let shown = stdout(&output);
    let core_pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    let core_pattern = core_pattern.trim();
    let answers: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let rewritten = if rewrites { "the write succeeds" } else { "Operation not permitted" };
    let expected = [
        "# echo \"|/tmp/x\" > /proc/sys/kernel/core_pattern".to_owned(),
        "Operation not permitted".to_owned(),
        format!("it was {core_pattern} and is now {core_pattern}"),
        "# echo \"100\" > /proc/sys/net/ipv4/ip_default_ttl".to_owned(),
        "the write succeeds".to_owned(),
        "it was 64 and is now 100".to_owned(),
        "# echo \"255\" > /proc/sys/net/ipv4/ip_default_ttl".to_owned(),
        "Operation not permitted".to_owned(),
        "it was 100 and is now 100".to_owned(),
        "# echo \"9999999\" > /proc/sys/net/core/somaxconn".to_owned(),
        rewritten.to_owned(),
        format!("it was 4096 and is now {}", if rewrites { 65535 } else { 4096 }),
        "# echo \"0\" > /proc/sys/net/ipv4/tcp_syncookies".to_owned(),
        rewritten.to_owned(),
        "it was 1 and is now 1".to_owned(),
    ];
    assert_eq!(answers, expected);
    Ok(())
}

fn no_tour() -> Result<(), Failed> {
    let script = directory().join("tour.sh");
    let run = |command: &mut Command| command.arg(&script).stdin(Stdio::null()).output();
    // Namespaces of another process, which the script must not take for its own. If it wrote after all, it would write
    // there.
    let anothers = ["--net", "--uts", "--ipc", "sh", "-c", "sh \"$0\"; exit $?"];
    let output = run(Command::new("unshare").args(anothers))?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("not a net namespace of its own"), "{output:?}");
    // Its own namespaces, but no policy.
    let output = run(Command::new("unshare").args(["--net", "--uts", "--ipc", "sh"]))?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("the policy is not in force"), "{output:?}");
    Ok(())
}
