//! `knobgate simulate --on-kernel`: it prints the lines of the hook in user space, and cleans up.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use knobgate_kernel::{Namespaces, Signal, with_private_namespaces};
use knobgate_scenario::Scenario;
use knobgate_testing::{Test, profile};
use libtest_mimic::Failed;
use tempfile::NamedTempFile;

use crate::setting::{KNOBGATE, knobgate, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a_scenario_prints_the_same_lines_on_the_kernel", same),
    ("a_stopped_scenario_restores_everything", stopped),
    ("a_missing_knob_is_reported_before_any_step", missing),
    ("two_scenarios_are_played_one_after_the_other", one_at_a_time),
    ("a_process_id_cannot_be_chosen_on_the_kernel", process_id),
    ("an_update_that_could_crash_the_kernel_is_not_played_on_it", crash),
];

fn same() -> Result<(), Failed> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for name in ["scenario.json", "third-write.json", "limit-test.json"] {
        let path = examples.join(name);
        let in_user_space = Command::new(KNOBGATE).arg("simulate").arg(&path).output()?;
        assert_eq!(in_user_space.status.code(), Some(0), "{in_user_space:?}");
        assert!(stderr(&in_user_space).contains("decided by the hook in user space, as Linux 6.18"));

        let kernel = knobgate(["simulate", "--on-kernel"]).arg(&path).output()?;
        assert_eq!(kernel.status.code(), Some(0), "{kernel:?}");
        assert!(stderr(&kernel).contains("decided by the kernel's hook, Linux "));
        let scenario =
            Scenario::parse(&std::fs::read_to_string(&path)?, &mut |file| std::fs::read(examples.join(file)));
        let scenario = scenario.map_err(|errors| format!("{errors:?}"))?.with_profile(profile());
        let lines = scenario.play_on_model()?.map(|line| line.map(|line| line.to_json() + "\n"));
        let model: String = lines.collect::<Result<_, _>>()?;
        assert_eq!(stdout(&kernel), model, "{name}: {}", stderr(&kernel));
    }
    Ok(())
}

fn scenario(name: &str, steps: usize) -> NamedTempFile {
    let step = r#"{"write": {"knob": "kernel/domainname", "cgroup": "/", "data": "scenario"}}"#;
    let mut file = NamedTempFile::with_suffix(".json").expect("a temporary file");
    write!(
        file,
        r#"{{"knobs": [{{"name": "{name}", "value": "before", "handler": {{"kind": "string", "max_len": 65}}}}],
             "steps": [{}]}}"#,
        vec![step; steps].join(",")
    )
    .expect("a scenario");
    file
}

fn stopped() -> Result<(), Failed> {
    // More lines than fit in a pipe, so it waits for its reader when the signal comes.
    const STEPS: usize = 4000;
    const SCRIPT: &str = r#"
        "$0" simulate --on-kernel "$1" 2>"$2" &
        read -r go
        kill -TERM $!
        echo sent >&2
        wait $!
        echo "status $?" >&2
        cat /proc/sys/kernel/domainname >&2
    "#;
    let (file, printed) = (scenario("kernel/domainname", STEPS), NamedTempFile::new()?);
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, KNOBGATE]).arg(file.path()).arg(printed.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    with_private_namespaces(&mut command, Namespaces { uts: true, ..Namespaces::default() });
    let before = std::fs::read_to_string("/proc/sys/kernel/domainname")?;
    let mut shell = command.spawn()?;
    let mut lines = BufReader::new(shell.stdout.take().expect("piped"));
    let mut stderr = BufReader::new(shell.stderr.take().expect("piped"));
    let mut line = String::new();
    lines.read_line(&mut line)?;
    assert!(line.starts_with(r#"{"step":0,"ok":true"#), "{line}");
    shell.stdin.take().expect("piped").write_all(b"go\n")?;
    let mut sent = String::new();
    stderr.read_line(&mut sent)?;
    assert_eq!(sent, "sent\n");
    let (mut rest, mut end) = (String::new(), String::new());
    lines.read_to_string(&mut rest)?;
    stderr.read_to_string(&mut end)?;
    shell.wait()?;
    assert!(rest.lines().count() < STEPS - 1, "it was not stopped");
    assert_eq!(end, format!("status {}\n{before}", 128 + Signal::TERM.as_raw()));
    let printed = std::fs::read_to_string(printed.path())?;
    assert!(printed.contains("stopped by a signal"), "{printed}");
    Ok(())
}

fn missing() -> Result<(), Failed> {
    let file = scenario("kernel/no_such_knob", 0);
    let output = knobgate(["simulate", "--on-kernel"]).arg(file.path()).output()?;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""));
    assert!(stderr(&output).contains("this machine has no knob kernel/no_such_knob"), "{output:?}");
    Ok(())
}

fn one_at_a_time() -> Result<(), Failed> {
    // More lines than fit in a pipe, so that the first one waits for its reader.
    let file = scenario("kernel/domainname", 4000);
    let play = || {
        let mut command = Command::new(KNOBGATE);
        command.args(["simulate", "--on-kernel"]).arg(file.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        with_private_namespaces(&mut command, Namespaces { uts: true, ..Namespaces::default() });
        command.spawn()
    };
    let mut first = play()?;
    let mut lines = BufReader::new(first.stdout.take().expect("piped"));
    lines.read_line(&mut String::new())?;
    // It has its own namespace, but kernel.sysctl_writes_strict belongs to the machine.
    let mut second = play()?;
    let waits = BufReader::new(second.stderr.take().expect("piped"))
        .lines()
        .find_map(|line| line.ok().filter(|line| line.contains("waiting for another scenario")));
    let waits = waits.ok_or("it does not wait")?;
    assert!(waits.contains(&format!("process {} (knobgate)", first.id())), "{waits}");
    lines.read_to_string(&mut String::new())?;
    let second = second.wait_with_output()?;
    assert_eq!((first.wait()?.code(), second.status.code()), (Some(0), Some(0)));
    assert_eq!(stdout(&second).lines().count(), 4000);
    Ok(())
}

fn process_id() -> Result<(), Failed> {
    let mut file = NamedTempFile::with_suffix(".json")?;
    file.write_all(br#"{"processes": {"alice": {"pid": 7}}, "steps": []}"#)?;
    let output = knobgate(["simulate", "--on-kernel"]).arg(file.path()).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let expected = "the process alice has a `pid`, which cannot be chosen on the running kernel";
    assert!(stderr(&output).contains(expected), "{output:?}");
    Ok(())
}

fn crash() -> Result<(), Failed> {
    // The program never uses its storage, and there is no access after the update: even if it were played, nothing
    // would crash.
    let scenario = r#"{
        "knobs": [{"name": "kernel/domainname", "value": "x", "handler": {"kind": "string", "max_len": 65}}],
        "maps": [{"name": "one", "type": "percpu_cgroup_storage", "key_size": 8, "value_size": 8, "max_entries": 0}],
        "programs": {
            "without": {"insns": "b700000001000000 9500000000000000"},
            "with": {"insns": "1811000000000000 0000000000000000 b700000001000000 9500000000000000"}
        },
        "cgroups": ["a"],
        "steps": [
            {"attach": {"program": "FIRST", "cgroup": "a", "mode": "link", "as": "l"}},
            {"update": {"link": "l", "program": "SECOND"}},
            {"effective": "a"}
        ]
    }"#;
    for (first, second) in [("without", "with"), ("with", "without"), ("with", "with")] {
        let mut file = NamedTempFile::with_suffix(".json")?;
        file.write_all(scenario.replace("FIRST", first).replace("SECOND", second).as_bytes())?;
        let output = knobgate(["simulate", "--on-kernel"]).arg(file.path()).output()?;
        let printed = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{first}, {second}: {printed}");
        assert_eq!(stdout(&output), "{\"step\":0,\"ok\":true,\"errno\":null}\n", "{first}, {second}");
        for part in ["cannot play step 1", "has cgroup storage", "crash the machine"] {
            assert!(printed.contains(part), "{first}, {second}: {printed}");
        }
    }
    Ok(())
}
