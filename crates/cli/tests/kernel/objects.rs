//! Programs from objects instead of policies: those in examples/objects.

use std::process::Stdio;

use knobgate_bpf::TargetKernel as _;
use knobgate_bpf::{
    Function, Imm64, Insn, MapDef, MapKind, MapReference, Program, Reg, Relocation, Width, write_object,
};
use knobgate_kernel::{Cgroup, RunningKernel};
use knobgate_testing::{Profile, Test, scratch, shell};
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::setting::{DetachOnDrop, attach, expect, knobgate, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a_command_runs_under_a_program_from_an_object", run),
    ("variables_are_set_on_the_command_line", set),
    ("an_attached_program_keeps_its_tail_calls", tail_calls),
    ("a_program_replaces_a_policy_and_the_other_way_round", replaced),
    ("a_compiled_policy_is_shown_as_a_policy_and_decides_the_same", compiled),
    ("a_rejected_program_leaves_the_old_one_in_force", rejected),
    ("a_program_with_cgroup_storage_is_only_attached_beside_the_old_one", cgroup_storage),
];

/// With `watch.bpf.o`, which calls `bpf_for_each_map_elem` with a callback.
pub(crate) const CALLBACKS: &[Test] = &[("a_program_from_an_object_is_listed_with_its_file", listed)];

/// With relocations (CO-RE).
pub(crate) const RELOCATED: &[Test] = &[("what_the_kernel_lacks_is_the_reason", lacking)];

/// Why objects cannot be linked for this kernel.
pub(crate) fn btf(_: &Profile) -> Option<String> {
    RunningKernel::default().btf().err()
}

fn object(name: &str) -> String {
    format!("{}/../../examples/objects/{name}.bpf.o", env!("CARGO_MANIFEST_DIR"))
}

fn set() -> Result<(), Failed> {
    let parent = scratch();
    let place = parent.path().to_str().ok_or("a path")?;
    let object = object("settings");
    let script = "echo x >/proc/sys/kernel/domainname";
    let run = |set: &[&str]| {
        let set = set.iter().flat_map(|set| ["--set", set]);
        let arguments = ["run", "--object", &object, "--cgroup", place].into_iter().chain(set);
        knobgate(arguments.chain(["--", "unshare", "--uts", "sh", "-c", script])).output()
    };
    assert_eq!(run(&[])?.status.code(), Some(0));
    assert_ne!(run(&["enabled=true", "mode=ENFORCE", "knob=kernel/domainname"])?.status.code(), Some(0));
    assert_eq!(run(&["enabled=true", "mode=ENFORCE", "knob=kernel/ostype"])?.status.code(), Some(0));
    for (set, expected) in [
        ("enable=1", "the object has no variable \"enable\", did you mean \"enabled\"?"),
        ("small=70000", "the variable \"small\" (short, 2 bytes) cannot be set to \"70000\""),
        ("enabled", "write the name of a variable, =, and its value"),
    ] {
        let output = run(&[set])?;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
    Ok(())
}

fn lacking() -> Result<(), Failed> {
    let object = object("missing");
    let output = expect(1, ["verify", "--object", &object, "--program", "member"]);
    let reason = "CO-RE relocation of struct task_struct___other.no_such_member: Linux ";
    assert!(stdout(&output).contains(reason), "{output:?}");
    let output = expect(1, ["verify", "--object", &object, "--program", "function"]);
    assert!(stderr(&output).contains("no_such_function is a function of the kernel (kfunc)"), "{output:?}");
    Ok(())
}

/// `knobgate attach` of a program.
fn attach_object(file: &str, program: &str, cgroup: &Cgroup, name: &str) -> String {
    let cgroup = cgroup.path().to_str().expect("a path");
    let file = object(file);
    stdout(&expect(
        0,
        ["attach", "--object", &file, "--program", program, "--cgroup", cgroup, "--name", name],
    ))
}

fn shown(name: &str) -> Value {
    serde_json::from_slice(&expect(0, ["show", "--json", name]).stdout).expect("JSON")
}

/// Whether a process in the cgroup may write this as the domain name.
fn may_write(cgroup: &Cgroup, value: &str) -> bool {
    let script = format!("echo {value} 2>/dev/null >/proc/sys/kernel/domainname");
    shell(cgroup, &script).stderr(Stdio::null()).status().expect("a shell").success()
}

fn run() -> Result<(), Failed> {
    let parent = scratch();
    let place = parent.path().to_str().ok_or("a path")?;
    let object = object("several");
    let script = "echo x >/proc/sys/kernel/domainname; cat /proc/sys/kernel/domainname";
    let run = ["run", "--object", &object, "--program", "read_only", "--cgroup", place, "--", "sh", "-c"];
    let output = knobgate(run.into_iter().chain([script])).output()?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_ne!(stdout(&output), "x\n");
    let message = stderr(&output);
    assert!(
        message.contains("note: the program \"read_only\" runs on the kernel's hook, Linux "),
        "{message}"
    );
    Ok(())
}

fn tail_calls() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-calls");
    attach_object("several", "hand_on", &cgroup, "t-calls");
    // The kernel empties a program array when no process has it open.
    assert!(may_write(&cgroup, "example") && !may_write(&cgroup, "xample"));
    let message = attach_object("several", "hand_on", &cgroup, "t-calls");
    assert!(message.contains("replaced program"), "{message}");
    assert!(may_write(&cgroup, "example") && !may_write(&cgroup, "xample"));
    let pinned =
        || -> Result<usize, Failed> { Ok(std::fs::read_dir("/sys/fs/bpf/knobgate/t-calls")?.count()) };
    assert_eq!(pinned()?, 2, "the link and one program array");
    attach_object("several", "read_only", &cgroup, "t-calls");
    assert_eq!(pinned()?, 1, "the link");
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-either");
    attach(policy("policy t-either\ndefault write allow\n").path(), &cgroup, "t-either");
    assert!(may_write(&cgroup, "example"));
    attach_object("several", "read_only", &cgroup, "t-either");
    assert!(!may_write(&cgroup, "example"));
    let shown_object = shown("t-either");
    assert_eq!((&shown_object["policy"], &shown_object["text"]), (&Value::Null, &Value::Null));
    attach(policy("policy t-either\ndefault write allow\n").path(), &cgroup, "t-either");
    assert!(may_write(&cgroup, "example"));
    let shown_policy = shown("t-either");
    assert_eq!(shown_policy["object"], Value::Null);
    assert_eq!(shown_policy["policy"], "t-either");
    Ok(())
}

fn listed() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-listed");
    attach_object("watch", "watch", &cgroup, "t-listed");
    let file = std::fs::canonicalize(object("watch"))?.display().to_string();

    let shown = shown("t-listed");
    assert_eq!(shown["object"], file.as_str());
    assert_eq!(shown["object_program"], "watch");
    let maps: Vec<_> = shown["maps"].as_array().ok_or("no maps")?.iter().map(|map| &map["name"]).collect();
    assert_eq!(maps, ["totals", "writes", "events", ".bss", ".rodata"]);
    assert_eq!(shown["maps"][2]["type"], "ringbuf");
    assert_eq!((&shown["maps"][3]["frozen"], &shown["maps"][4]["frozen"]), (&false.into(), &true.into()));
    let printed = stdout(&expect(0, ["show", "t-listed"]));
    assert!(printed.contains(&format!("\n  program watch of {file}\n")), "{printed}");
    assert!(printed.contains("  writes           hash "), "{printed}");

    let lines = stdout(&expect(0, ["list", "--json"]));
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let line = lines.find(|line| line["attachment"] == "t-listed").ok_or("not listed")?;
    assert_eq!((&line["object"], &line["policy"]), (&Value::from(file), &Value::Null));
    Ok(())
}

fn rejected() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-rejected");
    attach_object("several", "read_only", &cgroup, "t-rejected");
    // Returns 2 instead of 1: the object ends with `w0 = 1; exit`.
    let mut bytes = std::fs::read(object("several"))?;
    let allow = [0xb4, 0, 0, 0, 1, 0, 0, 0, 0x95];
    let places: Vec<_> = bytes
        .windows(allow.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == allow)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at + 4] = 2;
    }
    let mut bad = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut bad, &bytes)?;
    let (bad, place) = (bad.path().to_str().ok_or("a path")?, cgroup.path().to_str().ok_or("a path")?);
    let output = expect(
        1,
        ["attach", "--object", bad, "--program", "hand_on", "--cgroup", place, "--name", "t-rejected"],
    );
    let message = stderr(&output);
    assert!(message.contains("verifier rejects the program \"hand_on\" at "), "{message}");
    assert!(!may_write(&cgroup, "example"));
    assert_eq!(shown("t-rejected")["object_program"], "read_only");
    Ok(())
}

fn compiled() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-compiled");
    let text = "policy t-compiled\ndefault write allow\ndeny write kernel.domainname if new == \"x\"\n\
                deny write net.ipv4.conf.*.tag, net.ipv4.ip_nonlocal_bind\n";
    let policy = policy(text);
    let place = cgroup.path().to_str().ok_or("a path")?;
    let object = tempfile::NamedTempFile::with_suffix(".bpf.o")?;
    let (policy, object) = (policy.path().to_str().ok_or("a path")?, object.path().to_str().ok_or("a path")?);
    let message = stderr(&expect(0, ["compile", "--policy", policy, "-o", object]));
    let [note, warning, of_values] = message.lines().collect::<Vec<_>>()[..] else {
        return Err(message.into());
    };
    assert!(note.starts_with("note: ") && note.contains("--profile"), "{note}");
    assert!(warning.contains("denials with EINVAL are EPERM"), "{warning}");
    assert!(of_values.contains("a value of more than 135 bytes"), "{of_values}");

    let decided = |what: [&str; 2]| -> Result<(Vec<bool>, Value), Failed> {
        let [kind, file] = what;
        expect(0, ["attach", kind, file, "--cgroup", place, "--name", "t-compiled"]);
        let write = |knob: &str, value: &str| {
            let script = format!("echo {value} 2>/dev/null >/proc/sys/{knob}");
            shell(&cgroup, &script).stderr(Stdio::null()).status().map(|status| status.success())
        };
        let decided = [
            write("kernel/domainname", "x")?,
            write("kernel/domainname", "example")?,
            write("net/ipv4/conf/default/tag", "1")?,
            write("net/ipv4/ip_nonlocal_bind", "1")?,
            write("net/ipv4/ip_default_ttl", "65")?,
        ];
        Ok((decided.to_vec(), shown("t-compiled")))
    };
    let (by_policy, of_policy) = decided(["--policy", policy])?;
    let (by_object, of_object) = decided(["--object", object])?;
    assert_eq!(by_policy, [false, true, false, false, true]);
    assert_eq!(by_object, by_policy);
    for part in ["policy", "mode", "rules", "text"] {
        assert_eq!(of_object[part], of_policy[part], "{part}");
    }
    assert_eq!(of_object["text"], text);
    assert_eq!(of_object["rules"][0]["decided"], 1);
    Ok(())
}

/// An object with a program that allows everything and has cgroup storage.
///
/// It refers to its storage but never uses it. So if knobgate allowed a forbidden update, the test would fail, but the
/// machine would not crash.
fn with_storage() -> NamedTempFile {
    let storage = MapDef {
        name: "storage".to_owned(),
        kind: MapKind::CgroupStorage,
        key_size: 8,
        value_size: 8,
        max_entries: 0,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    };
    let refers = Insn::load_imm64(Reg::R1, Imm64::Map { fd: 0 });
    let program = Program {
        name: "stores".to_owned(),
        insns: refers.into_iter().chain([Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()]).collect(),
        maps: vec![storage],
        relocations: vec![Relocation { insn: 0, map: 0, target: MapReference::Map }],
        functions: vec![Function { name: "stores".to_owned(), start: 0 }],
        ..Program::default()
    };
    let mut file = NamedTempFile::with_suffix(".bpf.o").expect("a temporary file");
    std::io::Write::write_all(&mut file, &write_object(&program).expect("an object")).expect("room");
    file
}

fn cgroup_storage() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    let _detached = DetachOnDrop("t-storage");
    let (stores, denies) = (with_storage(), policy("policy t-storage\ndefault write deny\n"));
    let [stores, denies] = [&stores, &denies].map(|file| file.path().to_str().expect("a path"));
    let [place, other_place] = [&cgroup, &other].map(|cgroup| cgroup.path().to_str().expect("a path"));
    let attach = |what: [&str; 2], more: &[&str], status: i32| {
        let to = ["--cgroup", place, "--name", "t-storage"];
        expect(status, ["attach"].iter().chain(&what).chain(&to).chain(more))
    };
    let held = || -> Result<(String, u64), Failed> {
        let shown = shown("t-storage");
        let name = if shown["policy"].is_null() { &shown["object_program"] } else { &shown["policy"] };
        let programs = cgroup.attached()?.program_ids.len() + other.attached()?.program_ids.len();
        Ok((name.as_str().ok_or("no name")?.to_owned(), programs as u64))
    };
    // Replacing is rejected between programs without storage, with storage, and with other storage. Under another name,
    // the new program runs next to the old one, which can then be detached.
    let more = ["--cgroup", other_place];
    attach(["--policy", denies], &more, 0);
    let _beside = DetachOnDrop("t-beside");
    let assert_rejected = |new| {
        let before = held()?;
        let rejected = stderr(&attach(new, &more, 3));
        for part in ["has cgroup storage", "crash the machine", "--name", "knobgate detach t-storage"] {
            assert!(rejected.contains(part), "{new:?}: {rejected}");
        }
        assert_eq!(held()?, before, "{new:?}: nothing has changed");
        Ok::<_, Failed>(())
    };
    assert_rejected(["--object", stores])?;
    assert!(!may_write(&cgroup, "example") && !may_write(&other, "example"));
    expect(0, ["attach", "--object", stores, "--cgroup", place, "--name", "t-beside"]);
    assert_eq!(held()?, ("t-storage".to_owned(), 3));
    expect(0, ["detach", "t-storage"]);
    assert!(may_write(&cgroup, "example"));
    attach(["--object", stores], &more, 0);
    assert_rejected(["--object", stores])?;
    assert_rejected(["--policy", denies])?;
    Ok(())
}
