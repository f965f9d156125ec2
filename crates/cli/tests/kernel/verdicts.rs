//! `knobgate verify`: what the verifier of the running kernel says of policies, and of the programs in `tests/objects`.

use std::io::Write;
use std::process::Output;

use knobgate_bpf::{Function, Insn, MapDef, Program, Reg, Width, write_object};
use knobgate_testing::Test;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::setting::{expect, is_loaded, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("an_accepted_policy_has_the_verifiers_statistics", accepted_policy),
    ("all_programs_of_an_object_are_verified_and_one_that_is_rejected_counts", all_programs),
    ("a_rejection_names_the_reason_and_the_line_of_the_source", rejected),
    ("one_program_of_an_object_can_be_verified", one_program),
    ("the_programs_of_an_object_have_a_limit_for_all_together", too_many),
    ("targets_of_tail_calls_are_verified_once", tail_calls),
    ("a_program_beyond_the_verifiers_limit_is_rejected", too_much),
    ("the_log_has_the_requested_paths", logs),
    ("a_rejection_without_source_lines_has_none", no_lines),
];

fn fixture(name: &str) -> String {
    format!("{}/tests/objects/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> String {
    format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The JSON objects that `verify` printed.
fn lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn verdicts(lines: &[Value]) -> Vec<(&str, &str)> {
    lines
        .iter()
        .map(|line| (line["name"].as_str().expect("a name"), line["verdict"].as_str().expect("a verdict")))
        .collect()
}

fn accepted_policy() -> Result<(), Failed> {
    let file =
        policy("policy t-verified\ndefault write allow\ndeny write kernel.domainname if new == \"x\"\n");
    let path = file.path().to_str().ok_or("a path")?;
    let lines = lines(&expect(0, ["verify", "--policy", path, "--json"]));
    let [line] = &lines[..] else { return Err(format!("{lines:?}").into()) };
    assert_eq!(verdicts(&lines), [("t-verified", "accepted")]);
    assert_eq!((&line["kind"], &line["file"]), (&"policy".into(), &path.into()));
    assert_eq!(line["hook"]["in"], "kernel");
    for nothing in ["reason", "source", "insn", "log"] {
        assert_eq!(line[nothing], Value::Null, "{nothing}");
    }
    let number = |name: &str| line[name].as_u64().ok_or_else(|| format!("no {name}: {line}"));
    assert!(number("processed_insns")? >= 10 && number("insns")? >= 10, "{line}");
    assert_eq!(number("insn_limit")?, 1_000_000);
    assert!(number("total_states")? >= number("peak_states")?);
    assert!(line["stack_depths"][0].as_u64().is_some_and(|depth| (8..=512).contains(&depth)), "{line}");

    let output = expect(0, ["verify", "--policy", path]);
    let message = stdout(&output);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let first = format!("the policy \"t-verified\" is accepted by the verifier of Linux {release}");
    assert!(message.starts_with(&first), "{message}");
    let processed = format!("\n  processed     {} of at most 1000000\n", number("processed_insns")?);
    assert!(message.contains(&processed), "{message}");
    assert!(!is_loaded("t_verified"), "nothing stays in the kernel");
    Ok(())
}

fn all_programs() -> Result<(), Failed> {
    let object = fixture("verdicts.bpf.o");
    let lines = lines(&expect(1, ["verify", "--object", &object, "--json"]));
    assert_eq!(verdicts(&lines), [("right", "accepted"), ("wrong", "rejected")]);
    let message = stdout(&expect(1, ["verify", "--object", &object]));
    assert!(message.starts_with("the program \"right\" is accepted by "), "{message}");
    assert!(message.contains("\nthe program \"wrong\" is rejected by "), "{message}");
    Ok(())
}

fn rejected() -> Result<(), Failed> {
    let object = fixture("verdicts.bpf.o");
    let text = "return value[ctx->file_pos] != 'x';";
    let source = std::fs::read_to_string(fixture("verdicts.bpf.c"))?;
    let number = source.lines().position(|line| line.trim() == text).ok_or("no such line")? + 1;

    let verify = ["verify", "--object", &object, "--program", "wrong"];
    let lines = lines(&expect(1, verify.into_iter().chain(["--json"])));
    let [line] = &lines[..] else { return Err(format!("{lines:?}").into()) };
    assert_eq!(
        (&line["kind"], &line["file"], &line["line_info"]),
        (&"program".into(), &object.as_str().into(), &Value::Null)
    );
    let place = &line["source"];
    assert!(place["file"].as_str().is_some_and(|file| file.ends_with("verdicts.bpf.c")), "{line}");
    assert_eq!((&place["line"], &place["text"]), (&number.into(), &text.into()));
    assert!(line["insn"].as_u64() < line["insns"].as_u64(), "{line}");
    let reason = line["reason"].as_str().filter(|reason| reason.contains("stack")).ok_or("no reason")?;

    let output = expect(1, verify);
    let message = stdout(&output);
    assert_eq!(stderr(&output), "");
    for part in [
        format!("\n  reason        {reason}\n"),
        format!("verdicts.bpf.c:{number}\n"),
        format!("                  {text}\n"),
        format!("\n  | {reason}\n"),
    ] {
        assert!(message.contains(&part), "{part:?}: {message}");
    }
    Ok(())
}

fn one_program() -> Result<(), Failed> {
    let object = fixture("verdicts.bpf.o");
    let lines = lines(&expect(0, ["verify", "--object", &object, "--program", "right", "--json"]));
    assert_eq!(verdicts(&lines), [("right", "accepted")]);
    assert_eq!(lines[0]["line_info"], true);
    Ok(())
}

fn too_many() -> Result<(), Failed> {
    // As much read-only data as 5.10 accepts. It counts for each program.
    const PROGRAMS: usize = 90;
    let program = Program {
        name: "p0".to_owned(),
        insns: [Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()].repeat(PROGRAMS),
        functions: (0..PROGRAMS)
            .map(|number| Function { name: format!("p{number}"), start: 2 * number })
            .collect(),
        maps: vec![MapDef::frozen_value(".rodata", vec![7; 3 << 20])],
        ..Program::default()
    };
    let mut object = write_object(&program)?;
    publish_functions(&mut object);
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&object)?;
    let path = file.path().to_str().ok_or("a path")?;
    let message = stderr(&expect(2, ["verify", "--object", path]));
    assert!(message.contains("have more than 256 MiB together; say --program NAME"), "{message}");
    expect(0, ["verify", "--object", path, "--program", "p89"]);
    Ok(())
}

/// Turns the functions of an object into programs: makes their symbols global, in a section with the name of the main
/// program's.
fn publish_functions(object: &mut [u8]) {
    const SYMTAB: usize = 2;
    const ENTRY: usize = 24;
    const LOCAL_FUNCTION: u8 = 2;
    const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
    let number = |object: &[u8], at: usize, len: usize| {
        object[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    // e_shoff, e_shentsize and e_shnum; then sh_type, sh_offset and sh_size.
    let (table, size, count) = (number(object, 0x28, 8), number(object, 0x3a, 2), number(object, 0x3c, 2));
    let symbols = (0..count).map(|index| table + index * size).find(|at| number(object, at + 4, 4) == SYMTAB);
    let symbols = symbols.expect("a table of symbols");
    let (start, bytes) = (number(object, symbols + 0x18, 8), number(object, symbols + 0x20, 8));
    let entries = || (start..start + bytes).step_by(ENTRY);
    let section_of = |object: &[u8], symbol| table + number(object, symbol + 6, 2) * size;
    let main = entries().find(|symbol| object[symbol + 4] == GLOBAL_FUNCTION).expect("the main program");
    let main = section_of(object, main);
    for symbol in entries() {
        if object[symbol + 4] == LOCAL_FUNCTION {
            object[symbol + 4] = GLOBAL_FUNCTION;
            let section = section_of(object, symbol);
            object.copy_within(main..main + 4, section);
        }
    }
}

fn tail_calls() -> Result<(), Failed> {
    let object = example("objects/several.bpf.o");
    let all = lines(&expect(0, ["verify", "--object", &object, "--json"]));
    let mut all = verdicts(&all);
    all.sort_unstable();
    assert_eq!(all, [("decide", "accepted"), ("hand_on", "accepted"), ("read_only", "accepted")]);
    let one = lines(&expect(0, ["verify", "--object", &object, "--program", "hand_on", "--json"]));
    assert_eq!(verdicts(&one), [("hand_on", "accepted"), ("decide", "accepted")]);
    Ok(())
}

fn too_much() -> Result<(), Failed> {
    let object = fixture("endless.bpf.o");
    let lines = lines(&expect(1, ["verify", "--object", &object, "--json"]));
    assert_eq!(verdicts(&lines), [("endless", "rejected")]);
    let line = &lines[0];
    assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("too large")), "{line}");
    assert!(line["processed_insns"].as_u64() >= Some(1_000_000), "{line}");
    // Before 6.4 such a long log is cut at the end. No place is guessed from its beginning.
    let text = line["source"]["text"].as_str();
    assert_eq!(text.is_some_and(|text| !text.is_empty()), line["insn"].is_u64(), "{line}");
    Ok(())
}

fn logs() -> Result<(), Failed> {
    let object = fixture("verdicts.bpf.o");
    let log = |program: &str, log: &[&str], status| -> Result<String, Failed> {
        let verify = ["verify", "--object", &object, "--program", program, "--json"];
        let lines = lines(&expect(status, verify.iter().chain(log)));
        Ok(lines[0]["log"].as_str().ok_or("no log")?.to_owned())
    };
    // Only the instructions on the rejected path.
    let rejected = log("wrong", &["--log"], 1)?;
    assert!(!rejected.contains("(95) exit"), "{rejected}");
    assert!(rejected.contains("call bpf_sysctl_get_new_value#103"), "{rejected}");
    let all = log("right", &["--log=all"], 0)?;
    assert!(all.contains("(95) exit") && all.contains("call bpf_sysctl_get_new_value#103"), "{all}");
    let message = stdout(&expect(0, ["verify", "--object", &object, "--program", "right", "--log=all"]));
    assert!(message.contains("\nthe verifier's log:\n  | ") && message.contains("(95) exit"), "{message}");
    Ok(())
}

fn no_lines() -> Result<(), Failed> {
    let bytes = std::fs::read(fixture("verdicts.bpf.o"))?;
    // The loader ignores a section with another name.
    let at = bytes.windows(8).position(|bytes| bytes == b".BTF.ext").ok_or("no lines")?;
    let mut without = bytes.clone();
    without[at + 5..at + 8].copy_from_slice(b"old");
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, &without)?;
    let path = file.path().to_str().ok_or("a path")?;
    let lines = lines(&expect(1, ["verify", "--object", path, "--program", "wrong", "--json"]));
    assert_eq!(lines[0]["source"], Value::Null);
    assert!(lines[0]["insn"].as_u64().is_some() && lines[0]["reason"].is_string(), "{lines:?}");
    Ok(())
}
