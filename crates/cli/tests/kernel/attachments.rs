use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use knobgate_bpf::{Function, Insn, MapDef, Program, Reg, Width};
use knobgate_compiler::{POLICY_TEXT_MAP, RULE_HITS_MAP};
use knobgate_kernel::{
    AttachMode, AttachPosition, Cgroup, LoadOptions, ProgramFd, load, prog_attach, start_inside,
};
use knobgate_testing::{Reaped, Test, eventually, number, root, scratch, shell};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::setting::{
    DetachOnDrop, KNOBGATE, attach, decided_by_the_kernel, expect, is_loaded, policy, stderr, stdout,
};
use crate::writers::HAMMER;

pub(crate) const TESTS: &[Test] = &[
    ("an_attached_policy_stays_until_it_is_detached", stays),
    ("a_policy_is_attached_to_the_cgroup_of_a_process", by_pid),
    ("the_cgroup_of_a_process_in_the_root_cgroup_is_rejected", by_pid_in_root),
    ("a_thousand_replacements_let_no_denied_write_pass", replacements),
    ("an_attachment_without_its_cgroup_is_renewed", renewed),
    ("an_interrupted_detach_does_not_prevent_attaching", cut_short),
    ("concurrent_attaches_under_one_name_give_one_attachment", at_once),
    ("names_are_checked", names),
    ("a_bad_policy_leaves_the_old_one_in_force", bad_policy),
    ("all_programs_are_listed_in_the_order_in_which_they_run", other_programs),
    ("maps_that_are_too_large_for_a_policy_are_not_read", too_large),
    ("a_conflicting_program_is_named", conflict),
    ("the_shown_policy_comes_from_the_kernel", shown),
    ("a_policy_is_shown_with_what_it_includes_and_the_lines_of_its_own_file", including),
    ("an_attachment_is_shown_while_others_replace_it", shown_meanwhile),
    ("a_closed_output_does_not_hide_what_was_done", full),
];

pub(crate) const DENY: &str = "policy t-attached\ndefault write allow\ndeny write net.ipv4.ip_forward\n";

/// Whether a process in the cgroup may write the knob that [`DENY`] denies.
pub(crate) fn may_write(cgroup: &Cgroup) -> bool {
    let status =
        shell(cgroup, "echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward").stderr(Stdio::null()).status();
    status.expect("a shell").success()
}

pub(crate) fn shown_json(name: &str) -> Value {
    serde_json::from_slice(&expect(0, ["show", "--json", name]).stdout).expect("JSON")
}

fn listed(cgroup: &Cgroup) -> Vec<Value> {
    let output = stdout(&expect(0, ["list", "--json"]));
    let lines = output.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["cgroup"] == cgroup.path().display().to_string()).collect()
}

fn stays() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-stays");
    let inner = cgroup.create("inner")?;
    assert!(may_write(&cgroup) && may_write(&inner));
    let message = attach(policy(DENY).path(), &cgroup, "t-stays");
    assert!(
        message.contains("t-stays") && message.contains(&cgroup.path().display().to_string()),
        "{message}"
    );
    assert!(message.ends_with(&decided_by_the_kernel()), "{message}");
    assert!(!may_write(&cgroup) && !may_write(&inner));
    let message = stdout(&expect(0, ["detach", "t-stays"]));
    assert!(
        message.contains("t-stays") && message.contains(&cgroup.path().display().to_string()),
        "{message}"
    );
    assert!(may_write(&cgroup) && may_write(&inner));
    let output = expect(2, ["detach", "t-stays"]);
    assert!(stderr(&output).contains("there is no attachment \"t-stays\""), "{output:?}");
    expect(2, ["show", "t-stays"]);
    Ok(())
}

fn by_pid() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-pid");
    let sleeper = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    let pid = sleeper.0.id().to_string();
    eventually("it is inside", || cgroup.procs().is_ok_and(|pids| pids.contains(&sleeper.0.id())));
    let file = policy(DENY);
    let file = file.path().to_str().ok_or("a path")?;
    expect(0, ["attach", "--policy", file, "--pid", &pid, "--name", "t-pid"]);
    assert!(!may_write(&cgroup));
    let output = expect(2, ["attach", "--policy", file, "--pid", "4194305", "--name", "t-pid-2"]);
    assert!(stderr(&output).contains("there is no process 4194305"), "{output:?}");
    Ok(())
}

fn by_pid_in_root() -> Result<(), Failed> {
    let root = root();
    // In a container, the mounted root is not the root of all cgroups.
    if root.path().join("cgroup.type").exists() {
        return Ok(());
    }
    let sleeper = Reaped(shell(&root, "exec sleep 1000").spawn()?);
    // Denies nothing, in case it is attached after all.
    let file = policy("policy t-root\nmode audit\n");
    let file = file.path().to_str().ok_or("a path")?;
    let output = expect(2, ["attach", "--policy", file, "--pid", &sleeper.0.id().to_string()]);
    assert!(stderr(&output).contains("every process on this machine"), "{output:?}");
    expect(2, ["show", "t-root"]);
    Ok(())
}

fn replacements() -> Result<(), Failed> {
    const ATTACHERS: u64 = 4;
    let each = number("KNOBGATE_REPLACEMENTS", 1000)? / ATTACHERS;
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-replaced");
    // The policies differ, but deny the same.
    let policies = [DENY.to_owned(), format!("{DENY}allow write kernel.** if count(new) == 1\n")]
        .map(|text| policy(&text));
    attach(policies[0].path(), &cgroup, "t-replaced");

    let mut hammer = Command::new(std::env::current_exe()?);
    hammer.args([HAMMER, "/proc/sys/net/ipv4/ip_forward"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    start_inside(&mut hammer, &cgroup)?;
    knobgate_kernel::with_private_namespaces(
        &mut hammer,
        knobgate_kernel::Namespaces { net: true, ..Default::default() },
    );
    let mut hammer = Reaped(hammer.spawn()?);
    let mut output = BufReader::new(hammer.0.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    assert_eq!(line, "hammering\n");

    let before = shown_json("t-replaced")["program"].clone();
    std::thread::scope(|threads| {
        for attacher in 0..ATTACHERS {
            let (cgroup, policies) = (&cgroup, &policies);
            threads.spawn(move || {
                for turn in 0..each {
                    let policy = &policies[((attacher + turn) % 2) as usize];
                    let message = attach(policy.path(), cgroup, "t-replaced");
                    assert!(message.contains("replaced program"), "{message}");
                }
            });
        }
    });
    assert_ne!(shown_json("t-replaced")["program"], before);

    drop(hammer.0.stdin.take());
    line.clear();
    output.read_to_string(&mut line)?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [attempts, denied] = numbers[..] else { return Err(line.into()) };
    assert_eq!(attempts, denied, "every attempt was denied");
    let replacements = ATTACHERS * each;
    assert!(attempts > 10 * replacements, "it hammered: {attempts}");
    eprintln!("{attempts} attempts during {replacements} replacements, all denied");
    assert_eq!(listed(&cgroup).len(), 1);
    Ok(())
}

fn renewed() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-renewed");
    let parent = scratch();
    let cgroup = parent.create("service")?;
    let file = policy(DENY);
    attach(file.path(), &cgroup, "t-renewed");
    cgroup.remove()?;
    let cgroup = parent.create("service")?;
    eventually("the link has lost its cgroup", || shown_json("t-renewed")["cgroups"] == json!([]));
    let list = stdout(&expect(0, ["list"]));
    assert!(list.contains("t-renewed has no cgroup any more"), "{list}");
    assert!(may_write(&cgroup));
    let message = attach(file.path(), &cgroup, "t-renewed");
    assert!(message.contains("because its previous cgroup was removed"), "{message}");
    assert!(!may_write(&cgroup));
    assert_eq!(listed(&cgroup).len(), 1);
    Ok(())
}

fn cut_short() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-cut");
    let cgroup = scratch();
    let file = policy(DENY);
    attach(file.path(), &cgroup, "t-cut");
    // The state in which the pin is removed, but its directory is not.
    let pin = format!("/sys/fs/bpf/knobgate/t-cut/cgroup-{}", cgroup.id());
    std::fs::remove_file(&pin)?;
    eventually("it is detached", || may_write(&cgroup));
    attach(file.path(), &cgroup, "t-cut");
    assert!(!may_write(&cgroup));
    std::fs::remove_file(&pin)?;
    let message = stderr(&expect(3, ["show", "t-cut"]));
    assert!(message.contains("knobgate detach t-cut"), "{message}");
    expect(0, ["detach", "t-cut"]);
    expect(2, ["detach", "t-cut"]);
    Ok(())
}

fn at_once() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-once");
    let cgroup = scratch();
    let file = policy(DENY);
    let message: Vec<String> = std::thread::scope(|threads| {
        let start = || threads.spawn(|| attach(file.path(), &cgroup, "t-once"));
        let all: Vec<_> = (0..8).map(|_| start()).collect();
        all.into_iter().map(|thread| thread.join().expect("attached")).collect()
    });
    assert_eq!(message.iter().filter(|message| message.contains(": attached")).count(), 1, "{message:?}");
    assert_eq!(listed(&cgroup).len(), 1);
    Ok(())
}

fn names() -> Result<(), Failed> {
    let cgroup = scratch();
    let place = cgroup.path().to_str().ok_or("a path")?;
    let file = policy("policy with.dots\n");
    let file = file.path().to_str().ok_or("a path")?;
    for name in ["../x", "", "a b", "+1-0"] {
        expect(2, ["attach", "--policy", file, "--cgroup", place, "--name", name]);
        expect(2, ["detach", name]);
        expect(2, ["show", name]);
    }
    let output = expect(2, ["attach", "--policy", file, "--cgroup", place]);
    assert!(stderr(&output).contains("--name"), "{output:?}");
    expect(2, ["attach", "--policy", file, "--cgroup", "/no/such/cgroup", "--name", "t-names"]);
    expect(2, ["attach", "--policy", file, "--cgroup", "/tmp", "--name", "t-names"]);
    expect(2, ["attach", "--policy", file, "--name", "t-names"]);
    assert!(listed(&cgroup).is_empty());
    Ok(())
}

fn bad_policy() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-kept");
    let cgroup = scratch();
    attach(policy(DENY).path(), &cgroup, "t-kept");
    let program = shown_json("t-kept")["program"].clone();
    let bad = policy("policy t-kept\nallow write ** if new <\n");
    let bad = bad.path().to_str().ok_or("a path")?;
    let place = cgroup.path().to_str().ok_or("a path")?;
    expect(1, ["attach", "--policy", bad, "--cgroup", place, "--name", "t-kept"]);
    assert_eq!(shown_json("t-kept")["program"], program);
    assert!(!may_write(&cgroup));
    Ok(())
}

/// A program that allows everything, not attached by knobgate.
fn other_program(name: &str) -> ProgramFd {
    let program = Program {
        name: name.to_owned(),
        insns: vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()],
        functions: vec![Function { name: "main".to_owned(), start: 0 }],
        ..Program::default()
    };
    load(&program, &LoadOptions::default()).expect("it loads").program
}

fn other_programs() -> Result<(), Failed> {
    let _detached = (DetachOnDrop("t-outer"), DetachOnDrop("t-inner"));
    let outer = scratch();
    let inner = outer.create("inner")?;
    let (monitor, late) = (other_program("monitor"), other_program("late"));
    prog_attach(&monitor, &outer, AttachMode::Multi, &AttachPosition::default())?;
    attach(policy(DENY).path(), &outer, "t-outer");
    attach(policy(DENY).path(), &inner, "t-inner");
    prog_attach(&late, &inner, AttachMode::Multi, &AttachPosition::default())?;

    let order = |cgroup: &Cgroup| -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let lines = listed(cgroup);
        assert!(lines.iter().enumerate().all(|(index, line)| line["order"] == index + 1), "{lines:?}");
        let line = |line: &Value| {
            let place = text(&line["attached_to"]);
            let place = place.strip_prefix(&outer.path().display().to_string()).unwrap_or("?");
            format!(
                "{} {} {} {place}",
                text(&line["attachment"]),
                text(&line["program_name"]),
                text(&line["attached_by"])
            )
        };
        lines.iter().map(line).collect()
    };
    assert_eq!(order(&outer), ["- monitor multi ", "t-outer t_attached link "]);
    assert_eq!(
        order(&inner),
        [
            "t-inner t_attached link /inner",
            "- late multi /inner",
            "- monitor multi ",
            "t-outer t_attached link ",
        ]
    );
    let lines = listed(&outer);
    assert_eq!((&lines[0]["policy"], &lines[1]["policy"]), (&Value::Null, &Value::from("t-attached")));
    assert_eq!((&lines[0]["loaded_by_uid"], &lines[0]["link"]), (&Value::from(0), &Value::Null));
    assert_eq!(lines[0]["program"], monitor.info()?.id);

    let text = stdout(&expect(0, ["list"]));
    let lines: Vec<&str> =
        text.lines().skip_while(|line| *line != inner.path().display().to_string()).skip(1).take(4).collect();
    let [first, second, third, last] = lines[..] else { return Err(text.into()) };
    assert!(first.starts_with("  1. t-inner: program "), "{text}");
    assert!(second.starts_with("  2. not ours: program ") && second.contains("(late), multi mode"), "{text}");
    assert!(third.starts_with("  3. not ours: ") && third.contains(", from "), "{text}");
    assert!(last.starts_with("  4. t-outer: "), "{text}");
    Ok(())
}

fn too_large() -> Result<(), Failed> {
    let cgroup = scratch();
    let text = b"policy t-large\n";
    let map = |name: &str, bytes: &[u8], size: u32| {
        let mut value = bytes.to_vec();
        value.resize(size as usize, b'\n');
        MapDef::frozen_value(name, value)
    };
    for (size, expected) in [(text.len() as u32, json!("t-large")), ((32 << 20) + 1, Value::Null)] {
        let program = Program {
            name: "large".to_owned(),
            insns: vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()],
            maps: vec![map(POLICY_TEXT_MAP, text, size), map(RULE_HITS_MAP, &[], 32)],
            ..Program::default()
        };
        let program = match load(&program, &LoadOptions::default()) {
            Ok(loaded) => loaded.program,
            // Old kernels have no array with values of more than 4 MiB.
            Err(error) if size > 4 << 20 && error.to_string().contains("Argument list too long") => continue,
            Err(error) => return Err(error.into()),
        };
        prog_attach(&program, &cgroup, AttachMode::Multi, &AttachPosition::default())?;
        let id = program.info()?.id;
        let lines = listed(&cgroup);
        let line = lines.iter().find(|line| line["program"] == id).ok_or("it is not listed")?;
        assert_eq!(line["policy"], expected, "{size}");
    }
    Ok(())
}

fn conflict() -> Result<(), Failed> {
    let cgroup = scratch();
    prog_attach(&other_program("monitor"), &cgroup, AttachMode::Override, &AttachPosition::default())?;
    let file = policy(DENY);
    let (file, place) = (file.path().to_str().ok_or("a path")?, cgroup.path().to_str().ok_or("a path")?);
    let output = expect(3, ["attach", "--policy", file, "--cgroup", place, "--name", "t-way"]);
    assert!(stderr(&output).contains("override mode"), "{output:?}");
    let doctor = stdout(&expect(0, ["doctor"]));
    assert!(doctor.contains("a program in override mode on"), "{doctor}");
    expect(2, ["show", "t-way"]);
    Ok(())
}

fn shown() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-shown");
    let cgroup = scratch();
    let text = "# a comment, Ünïcödé\r\npolicy t-shown\r\nmode audit\r\n\
                deny write net.ipv4.ip_forward   if new != 0 # why\r\nallow read **\r\n";
    let file = policy(text);
    attach(file.path(), &cgroup, "t-shown");
    drop(file);
    let script = "cd /proc/sys/net/ipv4; for i in 1 2 3; do echo 1 >ip_forward; done; echo x >ip_forward; \
                  echo 0 >ip_forward; read value <ip_default_ttl";
    shell(&cgroup, script).stderr(Stdio::null()).status()?;
    let shown = shown_json("t-shown");
    assert_eq!(shown["text"], text);
    assert_eq!((&shown["mode"], &shown["policy"]), (&Value::from("audit"), &Value::from("t-shown")));
    let on = &shown["cgroups"][0];
    assert_eq!(on["cgroup"], cgroup.path().display().to_string());
    assert_eq!((&on["cgroup_id"], &on["program"]), (&cgroup.id().into(), &shown["program"]));
    let rules: Vec<(u64, u64, u64)> = shown["rules"]
        .as_array()
        .ok_or("no rules")?
        .iter()
        .map(|rule| ["line", "decided", "eval_errors"].map(|field| rule[field].as_u64().unwrap_or(0)))
        .map(|[line, decided, eval_errors]| (line, decided, eval_errors))
        .collect();
    assert_eq!(rules[0], (4, 3, 1), "{shown}");
    // A shell reads one byte at a time.
    assert_eq!(rules[1].0, 5);
    assert!(rules[1].1 >= 1, "{shown}");
    assert_eq!(rules[2..], [(0, 0, 0), (0, 1, 0)], "the defaults: {shown}");
    let printed = stdout(&expect(0, ["show", "t-shown"]));
    assert!(printed.contains("deny write net.ipv4.ip_forward   if new != 0\n"), "{printed}");
    assert!(printed.contains("audit mode"), "{printed}");
    expect(0, ["detach", "t-shown"]);
    eventually("the program goes", || !is_loaded("t_shown"));
    Ok(())
}

fn including() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-including");
    let (cgroup, directory) = (scratch(), tempfile::tempdir()?);
    let path = directory.path().join("t-including.knob");
    fs::write(
        &path,
        "policy t-including\ninclude \"part.knob\"\n\ninclude preset \"docker-runtime@1\"\ndeny write vm.a\n",
    )?;
    fs::write(directory.path().join("part.knob"), "# part\n\ndeny(EBUSY) write net.ipv4.ip_forward\n")?;
    attach(&path, &cgroup, "t-including");
    // The policy in the kernel needs its files no more.
    drop(directory);
    let script = "echo 1 >/proc/sys/net/ipv4/ip_forward";
    shell(&cgroup, script).stderr(Stdio::null()).status()?;
    let shown = shown_json("t-including");
    let lines: Vec<_> =
        shown["rules"].as_array().ok_or("no rules")?.iter().map(|rule| &rule["line"]).collect();
    assert_eq!(lines, [&json!(2), &json!(4), &json!(4), &json!(5), &Value::Null, &Value::Null], "{shown}");
    assert_eq!(shown["rules"][0]["decided"], 1, "{shown}");
    let printed = stdout(&expect(0, ["show", "t-including"]));
    for line in [
        "   1 | policy t-including\n",
        "   2 | # include \"part.knob\"\n     | # part\n     | \n     | deny(EBUSY) write net.ipv4.ip_forward\n",
        "     | # end of include \"part.knob\", lines: 3\n   3 | \n   4 | # include preset",
        "   5 | deny write vm.a\n",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let log = stdout(&expect(0, ["log", "t-including"]));
    assert!(log.contains("deny(EBUSY) write net.ipv4.ip_forward (t-including:2)"), "{log}");
    expect(0, ["detach", "t-including"]);
    Ok(())
}

fn shown_meanwhile() -> Result<(), Failed> {
    let times = number("KNOBGATE_SHOWINGS", 150)?;
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-meanwhile");
    let policies = [policy(DENY), policy(&format!("{DENY}deny write kernel.hostname\n"))];
    attach(policies[0].path(), &cgroup, "t-meanwhile");
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for turn in 0..times {
                    attach(policies[turn as usize % 2].path(), &cgroup, "t-meanwhile");
                }
            });
            threads.spawn(|| {
                for _ in 0..times {
                    assert_eq!(shown_json("t-meanwhile")["cgroups"].as_array().map(Vec::len), Some(1));
                    assert_eq!(listed(&cgroup)[0]["attachment"], "t-meanwhile");
                }
            });
        }
    });
    Ok(())
}

fn full() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-full");
    let file = policy(DENY);
    let (file, place) = (file.path().display().to_string(), cgroup.path().display().to_string());
    let run = |output: &str, arguments: &[&str]| {
        let script = format!("exec \"$@\" {output}");
        Command::new("sh").args(["-c", &script, "sh", KNOBGATE]).args(arguments).output()
    };
    for nowhere in [">/dev/full", ">/dev/full 2>/dev/full", ">&-"] {
        let attach = ["attach", "--policy", &file, "--cgroup", &place, "--name", "t-full"];
        for (arguments, is_denied) in [(&attach[..], true), (&["detach", "t-full"], false)] {
            let output = run(nowhere, arguments)?;
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(may_write(&cgroup), !is_denied, "{output:?}");
            if nowhere == ">/dev/full" {
                let message = stderr(&output);
                assert!(message.contains("cannot write the output (No space left on device"), "{message}");
                assert!(message.contains("but this was done: t-full: "), "{message}");
            }
        }
    }
    // A command that changes nothing fails.
    attach(std::path::Path::new(&file), &cgroup, "t-full");
    let listed = run(">/dev/full", &["list"])?;
    assert_eq!(listed.status.code(), Some(3), "{listed:?}");
    assert!(stderr(&listed).contains("cannot write the output: No space left"), "{listed:?}");
    let command = run(
        ">/dev/full 2>/dev/full",
        &["run", "--policy", &file, "--cgroup", &place, "--", "sh", "-c", "exit 7"],
    )?;
    assert_eq!(command.status.code(), Some(7), "{command:?}");
    Ok(())
}
