//! How common programs cope with rewrites. `write(2)` returns the length of the replacement. If that is not the length
//! that the program wrote, it panics, reports an error, or writes the rest, which the hook sees as another write. So
//! there must be exactly one write here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use knobgate_compiler::{Counted, Counter, RULE_HITS_MAP, RuleHits};
use knobgate_hook::Profile;
use knobgate_kernel::{
    Link, LoadOptions, Namespaces, load, probe_cached, start_inside, with_private_namespaces,
};
use knobgate_policy::{CheckOptions, Source, parse};
use knobgate_testing::{Suite, Test, profile, scratch};
use libtest_mimic::Failed;

use crate::setting::{rewriting, rewriting_lists};

pub(crate) const TESTS: &[Test] = &[
    ("a_rust_program_survives_a_rewritten_value", rust_programs),
    ("a_go_program_would_survive_a_rewritten_value", go_like),
    ("shells_survive_a_rewritten_value", shells),
    ("tee_and_dd_survive_a_rewritten_value", coreutils),
];

/// Tests that need a program which not every machine has.
pub(crate) fn with_others_programs(suite: Suite) -> Suite {
    let need = |program: &'static str| {
        move |profile: &Profile| {
            let missing = !is_there(program) && !is_required();
            rewriting(profile).or_else(|| missing.then(|| format!("there is no {program}")))
        }
    };
    suite
        .test("a_c_program_survives_a_rewritten_value", need(COMPILER), c_programs)
        .test("python_survives_a_rewritten_value", need(PYTHON), python)
        .test("sysctl_survives_a_rewritten_value", need(SYSCTL), sysctl)
}

const COMPILER: &str = "cc";
const PYTHON: &str = "python3";
const SYSCTL: &str = "sysctl";

/// The argument that makes this program write to a knob until its standard input ends.
pub(crate) const HAMMER: &str = "--hammer";
const FS_WRITE: &str = "--fs-write";
const WRITE_ALL: &str = "--write-all";
const BUFFERED: &str = "--buffered";
const GO: &str = "--like-go";

/// Plays one of the programs that the tests start.
pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let write: fn(&Path, &[u8]) -> io::Result<()> = match role.to_str()? {
        HAMMER => return Some(hammer(Path::new(arguments.first()?))),
        FS_WRITE => |knob, value| fs::write(knob, value),
        WRITE_ALL => |knob, value| File::options().write(true).open(knob)?.write_all(value),
        BUFFERED => |knob, value| {
            let mut writer = io::BufWriter::new(File::create(knob)?);
            value.iter().try_for_each(|&byte| writer.write_all(&[byte]))?;
            writer.flush()
        },
        GO => as_go_does,
        _ => return None,
    };
    let [knob, value] = arguments else { return None };
    Some(match write(Path::new(knob), value.as_encoded_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// `FD.Write` in Go's internal/poll/fd_unix.go, which panics if this fails.
fn as_go_does(knob: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).open(knob)?;
    let mut written = 0;
    while written < value.len() {
        let n = file.write(&value[written..])?;
        if n > value.len() - written {
            return Err(io::Error::other("invalid return from write: got more than was asked for"));
        }
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        written += n;
    }
    Ok(())
}

/// Prints how often it wrote, and how often that was denied.
fn hammer(knob: &Path) -> ExitCode {
    let (mut attempts, mut denied) = (0u64, 0u64);
    let stop = std::thread::spawn(|| io::stdin().read_to_end(&mut Vec::new()));
    let Ok(mut file) = File::options().write(true).open(knob) else { return ExitCode::FAILURE };
    println!("hammering");
    while !stop.is_finished() {
        attempts += 1;
        match file.write(b"1\n") {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied += 1,
            Ok(_) | Err(_) => {}
        }
    }
    println!("{attempts} {denied}");
    ExitCode::SUCCESS
}

/// What each writer writes, for each kind of handler, and the value that must be stored in the end.
const CASES: [(&str, &str, &str); 4] = [
    ("net/core/somaxconn", "9999999", "65535"),
    (LIST, "1024 65535", "2000 60000"),
    ("kernel/domainname", "the-name-that-is-written", "example.org"),
    ("net/ipv4/ip_default_ttl", "00100", "64"),
];

/// A list of numbers. On some kernels programs cannot build one; the test of clamped lists is ignored there.
const LIST: &str = "net/ipv4/ip_local_port_range";

const POLICY: &str = "policy t-writers
clamp write net.core.somaxconn to 128..65535
clamp write net.ipv4.ip_local_port_range to [2000..60000, ..60000]
set write kernel.domainname to \"example.org\"
ignore write net.ipv4.ip_default_ttl
";

/// Runs the command that `writer` returns for a path and a value, for each case.
fn check(name: &str, writer: impl Fn(&str, &str) -> Command) -> Result<(), Failed> {
    let cgroup = scratch();
    let file = parse(Source::new("t-writers.knob", POLICY), &CheckOptions::default())
        .map_err(|errors| format!("{errors:?}"))?;
    let compiled = knobgate_compiler::compile(&file, &probe_cached().features())?;
    let loaded = load(compiled.program(), &LoadOptions::default())?;
    let _link = Link::create(&loaded.program, &cgroup)?;
    let hits = || -> Result<Vec<RuleHits>, Failed> {
        let map = loaded.map(RULE_HITS_MAP).ok_or("no counters")?;
        Ok(RuleHits::in_value(&map.lookup(&[0; 4])?.ok_or("no counters")?))
    };

    for (rule, (knob, value, expected)) in CASES.into_iter().enumerate() {
        if knob == LIST && rewriting_lists(&profile()).is_some() {
            continue;
        }
        let path = format!("/proc/sys/{knob}");
        let writing = writer(&path, value);
        // Reads the value back in the same namespaces, and prints standard error.
        let mut command = Command::new("sh");
        command.args(["-c", "\"$@\" >/dev/null; echo $?; cat $0", &path]);
        command.arg(writing.get_program()).args(writing.get_args());
        start_inside(&mut command, &cgroup)?;
        with_private_namespaces(
            &mut command,
            Namespaces { net: true, uts: true, ipc: true, ..Namespaces::default() },
        );
        let before = hits()?;
        let output = command.output()?;
        let counted = RuleHits::incremented(&before, &hits()?);
        let shown = String::from_utf8_lossy(&output.stdout).replace('\t', " ");
        let printed = String::from_utf8_lossy(&output.stderr);
        let complaints =
            printed.lines().filter(|line| !line.starts_with("note: ")).collect::<Vec<_>>().join("\n");
        assert_eq!(shown, format!("0\n{expected}\n"), "{name} {knob}: {complaints}");
        // dd reports its progress there.
        assert!(complaints.is_empty() || name.starts_with("dd"), "{name} {knob}: {complaints}");
        let decided = Counter { index: rule, counted: Counted::Decided };
        assert!(
            counted.iter().filter(|counter| counter.index == rule).eq([&decided]),
            "{name} {knob}: one write, one run"
        );
    }
    Ok(())
}

/// A shell script. `$0` is the path and `$1` the value.
fn script(shell: &'static str, script: &'static str) -> impl Fn(&str, &str) -> Command {
    move |path, value| {
        let mut command = Command::new(shell);
        command.args(["-c", script, path, value]);
        command
    }
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn is_required() -> bool {
    std::env::var("KNOBGATE_REQUIRE_KERNEL").is_ok_and(|value| value == "1")
}

fn c_programs() -> Result<(), Failed> {
    const SOURCE: &str = r#"
        #include <fcntl.h>
        #include <stdio.h>
        #include <string.h>
        #include <unistd.h>
        int main(int count, char **arguments) {
            const char *how = arguments[1], *knob = arguments[2], *value = arguments[3];
            size_t length = strlen(value);
            if (!strcmp(how, "once")) {
                int fd = open(knob, O_WRONLY | O_TRUNC);
                return fd < 0 || write(fd, value, length) != (ssize_t)length || close(fd);
            }
            if (!strcmp(how, "loop")) {
                int fd = open(knob, O_RDWR);
                while (length > 0) {
                    ssize_t n = write(fd, value, length);
                    if (n <= 0 || (size_t)n > length) return 1;
                    value += n;
                    length -= n;
                }
                return close(fd);
            }
            FILE *file = fopen(knob, "w");
            return !file || fprintf(file, "%s\n", value) < 0 || fclose(file);
        }
    "#;
    assert!(is_there(COMPILER), "needs a C compiler");
    let directory = tempfile::tempdir()?;
    let (source, program) = (directory.path().join("writer.c"), directory.path().join("writer"));
    fs::write(&source, SOURCE)?;
    assert!(Command::new(COMPILER).arg("-o").arg(&program).arg(&source).status()?.success());
    for how in ["once", "loop", "stdio"] {
        check(&format!("C, {how}"), |path, value| {
            let mut command = Command::new(&program);
            command.args([how, path, value]);
            command
        })?;
    }
    Ok(())
}

/// This program in one of its roles.
fn role(role: &'static str) -> impl Fn(&str, &str) -> Command {
    move |path, value| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([role, path, value]);
        command
    }
}

fn rust_programs() -> Result<(), Failed> {
    check("fs::write", role(FS_WRITE))?;
    check("write_all", role(WRITE_ALL))?;
    check("BufWriter", role(BUFFERED))
}

fn go_like() -> Result<(), Failed> {
    check("Go's loop", role(GO))
}

fn shells() -> Result<(), Failed> {
    for shell in ["sh", "dash", "bash"] {
        if Command::new(shell).args(["-c", "true"]).status().is_ok() {
            check(&format!("{shell}, echo"), script(shell, "echo \"$1\" >$0"))?;
            check(&format!("{shell}, echo -n"), script(shell, "printf %s \"$1\" >$0"))?;
            check(&format!("{shell}, printf"), script(shell, "printf '%s\\n' \"$1\" >$0"))?;
            check(&format!("{shell}, appending"), script(shell, "echo \"$1\" >>$0"))?;
        }
    }
    Ok(())
}

fn coreutils() -> Result<(), Failed> {
    check("tee", script("sh", "echo \"$1\" | tee $0"))?;
    check("dd", script("sh", "echo \"$1\" | dd of=$0"))?;
    check("dd, status=none", script("sh", "printf %s \"$1\" | dd of=$0 bs=4096 status=none"))?;
    check("cp", script("sh", "echo \"$1\" | cp /dev/stdin $0"))
}

fn python() -> Result<(), Failed> {
    assert!(is_there(PYTHON), "needs {PYTHON}");
    for (name, program) in [
        ("python, text", "import sys; open(sys.argv[1], 'w').write(sys.argv[2] + '\\n')"),
        (
            "python, raw",
            "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); sys.exit(os.write(fd, sys.argv[2].encode()) != len(sys.argv[2]))",
        ),
        ("python, pathlib", "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"),
    ] {
        check(name, |path, value| {
            let mut command = Command::new(PYTHON);
            command.args(["-c", program, path, value]);
            command
        })?;
    }
    Ok(())
}

fn sysctl() -> Result<(), Failed> {
    assert!(is_there(SYSCTL), "needs {SYSCTL}");
    check("sysctl -w", script("sh", "sysctl -w \"${0#/proc/sys/}=$1\""))
}
