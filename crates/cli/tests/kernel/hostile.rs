//! Names and values with terminal controls, in every command.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use knobgate_bpf::{Function, Insn, MapDef, Program, Reg, Width, write_object};
use knobgate_kernel::{Cgroup, start_inside};
use knobgate_testing::{Reaped, Test, eventually, scratch};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::setting::{DetachOnDrop, KNOBGATE};
use crate::watching::knows_tasks;

pub(crate) const TESTS: &[Test] =
    &[("every_command_escapes_untrusted_text", every_command), ("mount_points_are_escaped", mount_points)];

/// These require a kernel whose programs can send events.
pub(crate) const EVENTS: &[Test] = &[("events_of_tasks_with_hostile_names_are_escaped", events)];

/// Sets the title, clears the screen, in C0 and in C1; reorders, breaks and hides text.
const TEXT: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}2J\u{202e}\r\nok\t\u{7f}\u{85}\u{2028}\u{feff}";

/// The same with a byte that is not UTF-8, where that is possible.
fn hostile(prefix: &str) -> OsString {
    OsString::from_vec([prefix.as_bytes(), TEXT.as_bytes(), b"\xff"].concat())
}

/// The kernel accepts no line break in the name of a cgroup.
fn without_breaks(name: OsString) -> Vec<u8> {
    name.into_vec().into_iter().filter(|byte| *byte != b'\n').collect()
}

/// Rules with such a name, such texts and such a comment.
fn policy(name: &str) -> String {
    let comment = TEXT.replace(['\r', '\n'], "");
    format!(
        "policy {name} # {comment}\ndefault write allow log\n\
         apply if cgroup starts with \"/{comment}\" or label(\"{comment}\") == \"{comment}\"\nallow read kernel.ostype\n\
         deny write kernel.domainname if new == \"{comment}\" # {comment}\n\
         test \"{comment}\" {{\n  write kernel.domainname \"{comment}\" => allow\n}}\n"
    )
}

/// Files, cgroups and a process with such names.
struct Names {
    directory: TempDir,
    cgroup: Cgroup,
    other: Cgroup,
    process: Reaped,
    _parent: knobgate_kernel::ScratchCgroup,
}

impl Names {
    fn new() -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let parent = scratch();
        let create = |name| parent.create(OsString::from_vec(without_breaks(hostile(name))));
        let (cgroup, other) = (create("one")?, create("other")?);
        // The kernel names a process after its file.
        let sleeper = directory.path().join(OsStr::from_bytes(b"\x1b[2J\x9b2J\n\xff"));
        assert!(Command::new("cp").arg("/bin/sleep").arg(&sleeper).status()?.success());
        let mut process = Command::new(&sleeper);
        process.arg("1000");
        start_inside(&mut process, &cgroup)?;
        let names = Self { process: Reaped(process.spawn()?), directory, cgroup, other, _parent: parent };
        names.write("good", &policy("t-hostile"));
        names.write("other", &policy("t-other"));
        names.write("bad", &format!("policy {TEXT}\n{TEXT} write {TEXT} if new < {TEXT}\n"));
        names.write("unknown", &format!("{{\"{}\": 1}}", TEXT.escape_default()));
        let json = serde_json::json!({ "policy": TEXT, "rules": [{ TEXT: TEXT }] });
        fs::write(names.file("json").with_extension("json"), json.to_string())?;
        let program = Program {
            name: "hostile_______".to_owned(),
            insns: vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()],
            functions: vec![Function { name: "hostile_______".to_owned(), start: 0 }],
            maps: vec![MapDef::frozen_value("map", vec![1; 8])],
            ..Program::default()
        };
        // It is written with names that kernels accept, and patched.
        let mut object = write_object(&program)?;
        while let Some(place) =
            object.windows(program.name.len()).position(|name| name == program.name.as_bytes())
        {
            object[place..][..program.name.len()].copy_from_slice("hostile\u{1b}[2J\u{9b}\n".as_bytes());
        }
        fs::write(names.file("object"), object)?;
        let scenario = serde_json::json!({
            "knobs": [{ "name": TEXT, TEXT: TEXT }], "programs": { TEXT: { "object": TEXT } }, "steps": [{ TEXT: TEXT }]
        });
        fs::write(names.file("scenario"), scenario.to_string())?;
        let line = TEXT.replace(['\r', '\n'], "");
        names.write("conf", &format!("# {line}\nkernel.domainname = {line}\nkernel.domainname = x{line}\n"));
        names.write("bad-conf", &format!("kernel.domainname {TEXT}\n{line} = 1\n"));
        let sysctls = serde_json::json!([{ "name": TEXT, "value": TEXT }, { "name": "a.b", "value": line }]);
        let pod = serde_json::json!({ "kind": "Pod", "spec": { "securityContext": { "sysctls": sysctls } } });
        fs::write(names.file("pod"), pod.to_string())?;
        let compose = serde_json::json!({ "services": { TEXT: { "sysctls": { TEXT: TEXT, "a.b": line } } } });
        fs::write(names.file("compose"), compose.to_string())?;
        names.write("unit", &format!("[Container]\nSysctl={line} \"a.b={line}\"\n"));
        Ok(names)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(hostile(name))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("a file");
    }

    /// The arguments of a command. `@NAME` is a file, `%` and `%text` are such texts, and `CGROUP`, `OTHER` and `PID`
    /// stand for the others.
    fn arguments(&self, command: &str) -> Vec<OsString> {
        let argument = |word: &str| match word {
            "CGROUP" => self.cgroup.path().into(),
            "OTHER" => self.other.path().into(),
            "PID" => self.process.0.id().to_string().into(),
            "%" => hostile("x"),
            "@json" => self.file("json").with_extension("json").into(),
            word => match word.strip_prefix('@') {
                Some(name) => self.file(name).into(),
                None => word.replace("%text", TEXT).into(),
            },
        };
        command.split(' ').map(argument).collect()
    }
}

/// The commands, and whether they print such names.
const COMMANDS: &[(&str, bool)] = &[
    ("attach --policy @good --cgroup CGROUP --name t-hostile", true),
    ("attach --policy @good --cgroup OTHER --name t-hostile", true),
    ("attach --policy @other --cgroup CGROUP --name t-hostile", true),
    ("attach --policy @other --cgroup CGROUP --cgroup OTHER --name t-hostile", false),
    ("attach --policy @good --pid PID --name t-hostile", true),
    ("attach --policy @good --cgroup %", true),
    ("attach --policy @missing --cgroup CGROUP", true),
    ("attach --policy @bad --cgroup CGROUP", true),
    ("attach --policy @good --cgroup CGROUP --name %text", true),
    ("attach --object @missing --cgroup CGROUP", true),
    ("attach --object @good --cgroup CGROUP", true),
    ("attach --object @object --program %text --cgroup CGROUP", true),
    ("attach --object @object --cgroup CGROUP --name t-hostile-2", true),
    ("attach --policy @good --container %text", true),
    ("attach --policy @good --unit %text", true),
    ("attach --policy @good --pod %text/x", true),
    ("attach --policy @good --pod %text", true),
    ("attach --policy @good --container %", false),
    ("off %text", true),
    ("on %text", true),
    ("list --cgroup CGROUP", true),
    ("list --pid PID --json", true),
    ("list --unit %text", true),
    ("list", true),
    ("list --json", true),
    ("show t-hostile", true),
    ("show t-hostile-2", true),
    ("show --json t-hostile", true),
    ("show --json t-hostile-2", true),
    ("show %text", true),
    ("agent --config @missing", true),
    ("agent --config @unknown", true),
    ("status", false),
    ("status --json", false),
    ("status %text", true),
    ("log t-hostile", false),
    ("log %text", true),
    ("log t-hostile --container %text", false),
    ("top %text", true),
    ("top --filter %text", true),
    ("watch %text", true),
    ("watch --from @bad", true),
    ("watch --from @missing", true),
    ("watch --from @missing --filter %text", true),
    ("watch --from @bad --container %text", true),
    ("watch --from @missing --pod x/%text", true),
    ("doctor --container %text", true),
    ("doctor --cgroup CGROUP", true),
    ("doctor --pid PID", true),
    ("doctor --json --pid PID", true),
    ("doctor", false),
    ("detach t-hostile-2 --cgroup OTHER", true),
    ("detach t-hostile-2 --cgroup %", true),
    ("detach t-hostile --cgroup CGROUP", true),
    ("detach t-hostile", true),
    ("detach %text", true),
    ("run --policy @good --cgroup CGROUP -- %", true),
    ("run --policy @good --cgroup CGROUP -- CGROUP", true),
    ("run --policy @good --cgroup % -- true", true),
    ("run --policy @good --cgroup CGROUP -- true", false),
    ("explain --policy @good write kernel.domainname %text --comm %", true),
    ("explain --policy @good write kernel.domainname %text --comm % --old %", true),
    ("explain --policy @good write kernel.domainname %text --comm % --json", true),
    ("explain --policy @good read kernel/%text", true),
    ("explain --policy @good read /proc/sys/kernel/x%text", true),
    ("explain --policy @good read %", true),
    ("explain --policy @good --container %text", true),
    ("explain --policy @good --cgroup CGROUP", true),
    ("explain --policy @good write kernel.domainname \\q%text", false),
    ("check @good @bad @json @missing", true),
    ("check --json @good @bad @json", true),
    ("lsp %text", true),
    ("presets %text", true),
    ("presets --json %text", true),
    ("knobs %text", true),
    ("knobs --format json %text", true),
    ("knobs --proc-sys %text", true),
    ("test @good @bad @json @missing", true),
    ("test @good --test %text", true),
    ("test --format json @good @bad @json", true),
    ("test --format junit @good @bad @json", true),
    ("verify --policy @good", false),
    ("verify --policy @bad", true),
    ("verify --object @object", true),
    ("verify --json --object @object", true),
    ("simulate @scenario", true),
    ("simulate @unknown", true),
    ("simulate @missing", true),
    ("fmt --check @good", true),
    ("fmt @missing", true),
    ("fmt @json", true),
    ("compile --policy @missing --output @x", true),
    ("compile --policy @good --output /no/such/directory/%text", true),
    ("import @conf", true),
    ("import @conf @bad-conf", true),
    ("import @missing", true),
    ("import @pod", true),
    ("import --name %text @conf", true),
    ("import --output /no/such/directory/%text @conf", true),
    ("lint --policy @good @conf @pod @compose @unit @bad-conf @missing", true),
    ("lint --json --policy @good @conf @pod @compose @unit", true),
    ("lint --kind sysctl --policy @good @bad-conf", true),
    ("lint --kind kubernetes --policy @good @bad-conf", true),
    ("lint --policy @bad @conf", true),
    ("diff @good @other", false),
    ("diff --format json @good @other", true),
    ("diff --format markdown @good @other", true),
    ("diff --format sarif @good @other", false),
    ("diff @good @bad", true),
    ("diff @good @missing", true),
    ("replay @bad --policy @good", true),
    ("replay @missing --policy @good", true),
    ("replay @missing --policy @bad", true),
    ("learn --cgroup CGROUP --for 1s", true),
    ("learn --cgroup CGROUP --for 1s --merge @good", true),
    ("learn --cgroup CGROUP --for %text", true),
    ("learn --unit %text --for 1s", true),
    ("learn --cgroup % --for 1s", true),
    ("learn --cgroup CGROUP --name %text", true),
    ("learn --cgroup CGROUP --merge @bad", true),
    ("learn --cgroup CGROUP --out /no/such/directory/%text", true),
    ("learn --from @bad", true),
    ("learn --review @good", true),
    ("learn --review @missing --from @bad", true),
    ("drift @conf", true),
    ("drift --format json @conf", true),
    ("drift @bad-conf", true),
    ("drift @missing", true),
    ("drift --root %text", true),
    ("drift @conf --events @bad", true),
    ("report @bad", true),
    ("report @missing", true),
    ("report @missing --filter %text", true),
    ("runtime --runtime /no/such/%text -- state x", true),
    ("runtime --runtime true -- create --bundle /no/such/%text x", true),
    ("runtime --runtime true -- %text create x", true),
    ("runtime --runtime true --policies % -- create --bundle /no/such x", false),
    ("oci-hook --policies %", false),
    ("oci-hook --label %text", true),
    ("nri --policies %", true),
    ("nri --agent-config %", true),
    ("nri --name %text", true),
    ("nri --index %text", true),
    ("systemd-dropin --policy @missing web", true),
    ("systemd-dropin --policy @bad web", true),
    ("systemd-dropin --policy @good %text", true),
    ("systemd-dropin --policy @good --name %text web", true),
    ("unhook --root @good", true),
    ("completions %", true),
    ("man %text", true),
    ("%", true),
    ("show t-hostile %", true),
    ("show --%text t-hostile", true),
    ("explain --policy @good --pid PID", true),
    ("explain --policy @good --pid PID --json", true),
    ("explain --profile %text --policy @good read x", true),
];

fn every_command() -> Result<(), Failed> {
    let names = Names::new()?;
    eventually("the process has its name", || {
        let comm = fs::read(format!("/proc/{}/comm", names.process.0.id()));
        comm.is_ok_and(|comm| comm.starts_with(b"\x1b[2J"))
    });
    for colours in ["never", "always"] {
        let _detached = (DetachOnDrop("t-hostile"), DetachOnDrop("t-hostile-2"));
        for (command, prints_names) in COMMANDS {
            let mut knobgate = Command::new(KNOBGATE);
            knobgate.args(["--color", colours]).args(names.arguments(command)).stdin(Stdio::null());
            let printed = expect_harmless(&mut knobgate, command)?;
            let names_said = ESCAPED.iter().any(|escaped| printed.contains(escaped));
            assert_eq!(names_said, *prints_names, "{command}:\n{printed}");
        }
    }
    let help = Command::new(KNOBGATE).arg("help").output()?;
    let help = String::from_utf8(help.stdout)?;
    let (_, commands) = help.split_once("Commands:\n").ok_or("no commands")?;
    let commands = commands.lines().take_while(|line| !line.is_empty());
    // Lines with more indentation continue the previous one.
    let names = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    for command in names.filter(|command| *command != "help") {
        let is_tried = |(tried, _): &(&str, bool)| tried.split(' ').next() == Some(command);
        assert!(COMMANDS.iter().any(is_tried), "{command} is not tried");
    }
    Ok(())
}

/// How names look that were escaped, as text and as JSON.
const ESCAPED: [&str; 6] = ["\\x1b", "\\u{1b}", "\\u001b", "\\u{9b}", "\\u009b", "\\xff"];

fn events() -> Result<(), Failed> {
    let names = Names::new()?;
    names.write("denying", &policy("t-hostile-e").replace("allow log", "deny log(all)"));
    let [attach, watch] =
        ["attach --policy @denying --cgroup CGROUP --name t-hostile-e", "watch --count 2 t-hostile-e"]
            .map(|command| names.arguments(command));
    let _detached = DetachOnDrop("t-hostile-e");
    assert!(Command::new(KNOBGATE).args(attach).stderr(Stdio::null()).status()?.success());
    let mut watching = Command::new(KNOBGATE);
    let mut watching = Reaped(watching.args(watch).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    let mut messages = BufReader::new(watching.0.stderr.take().ok_or("standard error")?);
    messages.read_line(&mut String::new())?;

    // The kernel names a process after its file.
    let task = names.directory.path().join(OsStr::from_bytes(b"\x1b[2J\x9b2J\n\xffsh"));
    assert!(Command::new("cp").arg("/bin/sh").arg(&task).status()?.success());
    let mut writer = Command::new(&task);
    writer.args([
        "-c",
        "printf %s \"$1\" >/proc/sys/kernel/domainname; printf 1 >/proc/sys/net/ipv4/ip_forward",
        "sh",
    ]);
    writer.arg(hostile("x")).stderr(Stdio::null());
    let own = knobgate_kernel::Namespaces { net: true, uts: true, ..knobgate_kernel::Namespaces::default() };
    knobgate_kernel::with_private_namespaces(&mut writer, own);
    start_inside(&mut writer, &names.cgroup)?;
    writer.status()?;
    let mut shown = Vec::new();
    watching.0.stdout.take().ok_or("standard output")?.read_to_end(&mut shown)?;
    let shown = harmless(&shown, "watch")?;
    let task = if knows_tasks() { r#" "\x1b[2J\x9b2J\n\xffsh"["# } else { " uid=0" };
    let lines = shown.lines().filter(|line| line.contains(" DENY E") && line.contains(task));
    assert_eq!(lines.count(), 2, "{shown}");

    let recorded = Command::new(KNOBGATE).args(["log", "--recent", "--json", "t-hostile-e"]).output()?.stdout;
    fs::write(names.file("events"), recorded)?;
    for command in [
        "log t-hostile-e",
        "log --json t-hostile-e",
        "log --recent t-hostile-e",
        "log --recent --json t-hostile-e",
        "watch --from @events",
        "watch --from @events --json",
        "replay @events --policy @good",
        "replay @events --policy @good --json",
        "diff @good @denying --events @events",
        "learn --from @events",
        "learn --review @denying --from @events",
        "drift @conf --events @events",
        "report @events",
    ] {
        let printed = expect_harmless(Command::new(KNOBGATE).args(names.arguments(command)), command)?;
        assert!(ESCAPED.iter().any(|escaped| printed.contains(escaped)), "{command}:\n{printed}");
    }
    Ok(())
}

/// The output of the command. Checks that it consists of text, line breaks, and colours.
fn expect_harmless(command: &mut Command, what: &str) -> Result<String, Failed> {
    let output = command.output()?;
    harmless(&[output.stdout, output.stderr].concat(), what)
}

/// The text of what was printed, without colours.
fn harmless(printed: &[u8], what: &str) -> Result<String, Failed> {
    let text = std::str::from_utf8(printed)
        .map_err(|error| format!("{what}: {error}: {}", printed.escape_ascii()))?;
    let text = without_colours(text);
    let found = text.chars().find(|&c| c != '\n' && drives_a_terminal(c));
    assert_eq!(found, None, "{what}: {}", text.escape_debug());
    Ok(text)
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let after = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match after.strip_prefix('m') {
            Some(after) => kept.push_str(after),
            None => kept.push_str(&format!("\u{1b}[{part}")),
        }
    }
    kept
}

fn drives_a_terminal(c: char) -> bool {
    c.is_control()
        || "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}".contains(c)
}

fn mount_points() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mount = directory.path().join(hostile("mount"));
    fs::create_dir(&mount)?;
    let file = directory.path().join("p.knob");
    fs::write(&file, policy("t-mounts"))?;
    let script = "umount /sys/fs/bpf; mount -t bpf bpf \"$1\"; knobgate=$2 policy=$3
        setpriv --reuid=65534 mkdir \"$1/knobgate\"; $knobgate attach --policy $policy --cgroup \"$4\"
        ls -d \"$1\"/*/t-mounts >/dev/null && echo attached
        $knobgate doctor; chown 65534 \"$1/knobgate\"; $knobgate list; $knobgate show t-mounts
        chown 0 \"$1/knobgate\"; mount -o remount,ro \"$1\"; $knobgate list; $knobgate attach --policy $policy --cgroup \"$4\"
        mount -o remount,rw \"$1\"; $knobgate detach t-mounts
        umount -a -t cgroup2; umount \"$1\"; mount -t cgroup2 none \"$1\"; $knobgate list; $knobgate doctor";
    let cgroup = scratch();
    let mut command = apart(script, &[&mount, Path::new(KNOBGATE), &file, cgroup.path()]);
    let printed = expect_harmless(&mut command, "mounts")?;
    assert!(printed.contains("attached\n"), "{printed}");
    assert!(printed.matches("\\x1b]0;pwned\\x07").count() > 5, "{printed}");
    Ok(())
}

fn apart(script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(arguments);
    let namespaces = knobgate_kernel::Namespaces { mount: true, ..knobgate_kernel::Namespaces::default() };
    knobgate_kernel::with_private_namespaces(&mut command, namespaces);
    command
}
