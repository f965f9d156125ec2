//! Each command, with the privileges that its `--help` says and no others, and without each of them.

mod cases;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use knobgate_kernel::{Cgroup, ScratchCgroup, Signal, start_inside};
use knobgate_testing::{Profile, Suite, Test, profile, scratch};
use libtest_mimic::Failed;
use rustix::mount::{MountFlags, mount};
use tempfile::TempDir;

use crate::agent_machine::{self, AgentMachine, policy_for};
use crate::setting::{copy_for_others, expect, rewriting, stderr, stdout};
use crate::watching::{sends_events, tells_outcomes};
use cases::CASES;

/// Each has a bpffs and a `/run` of its own.
pub(crate) fn tests() -> Suite {
    let tests: &[Test] = &[
        ("each_command_works_with_the_privileges_that_it_names_and_not_without", commands),
        ("the_page_on_privileges_has_what_the_commands_say", page),
    ];
    Suite::default().requiring(whole_sys_admin, tests).isolated(&["--mount", "--net", "--uts", "--ipc"]).and(
        agent_machine::suite(&[("the_agent_works_with_the_privileges_that_it_names_and_not_without", agent)]),
    )
}

/// What the tests require, besides all features: that `CAP_SYS_ADMIN` includes `CAP_NET_ADMIN` where it is asked which programs a
/// cgroup has.
fn whole_sys_admin(profile: &Profile) -> Option<String> {
    let includes = profile.version >= (6, 9);
    let lacks = (!includes).then(|| format!("CAP_SYS_ADMIN does not include CAP_NET_ADMIN on {profile}"));
    lacks.or_else(|| sends_events(profile)).or_else(|| tells_outcomes(profile)).or_else(|| rewriting(profile))
}

/// Commands that have their own tests: `agent` below, `nri` with the runtime that it needs.
const TESTED_ELSEWHERE: [&str; 2] = ["agent", "nri"];

/// Something that a command does.
struct Case {
    command: &'static str,
    /// The part of what it says that this is about: what stands before the colon. Empty for the first part.
    part: &'static str,
    /// A script that makes everything ready, as root with all capabilities. [`Place::shell`] has the variables.
    prepare: &'static str,
    /// A script with the command.
    does: &'static str,
    /// What that prints if the command does its work.
    prints: &'static str,
    /// A script that removes what is left.
    clean: &'static str,
}

/// Root, or capabilities by their names.
type Privileges = BTreeSet<String>;

/// The privileges that a command names: the parts, each with its text before the colon. A later part without one is a remark.
fn named(command: &str) -> Vec<(String, Privileges)> {
    let said = said(command);
    let parts = said.split("; ").enumerate().filter_map(|(index, part)| match part.split_once(": ") {
        Some((what, names)) => Some((what, names)),
        None => (index == 0).then_some(("", part)),
    });
    let names = |names: &str| names.split(", ").filter(|name| *name != "none").map(str::to_owned).collect();
    parts.map(|(what, listed)| (what.to_owned(), names(listed))).collect()
}

/// What a command says about its privileges, without the full stop.
fn said(command: &str) -> String {
    let help = stdout(&expect(0, [command, "--help"]));
    let mut paragraphs = help.split("\n\n").filter_map(|paragraph| paragraph.strip_prefix("Privileges: "));
    let said = paragraphs.next().unwrap_or_else(|| panic!("{command} does not say what it needs"));
    assert_eq!(paragraphs.next(), None, "{command} says it twice");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    said.strip_suffix('.').expect("a sentence").to_owned()
}

/// The names of all commands.
fn all_commands() -> Vec<String> {
    let help = stdout(&expect(0, ["help"]));
    let (_, listed) = help.split_once("\nCommands:\n").expect("a list of commands");
    let lines = listed.lines().take_while(|line| !line.is_empty());
    // What does not fit on the line of a command is further to the right.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Files and a cgroup for the cases.
struct Place {
    files: TempDir,
    cgroup: ScratchCgroup,
    /// In which knobgate runs.
    own: Cgroup,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None)?;
        mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None)?;
        let files = copy_for_others();
        for (name, text) in cases::FILES {
            fs::write(files.path().join(name), text)?;
            fs::set_permissions(files.path().join(name), Permissions::from_mode(0o644))?;
        }
        for directory in ["out", "policies.d"] {
            fs::create_dir(files.path().join(directory))?;
            fs::set_permissions(files.path().join(directory), Permissions::from_mode(0o777))?;
        }
        fs::rename(files.path().join("web.knob"), files.path().join("policies.d/web.knob"))?;
        let cgroup = scratch();
        let own = cgroup.create("own")?;
        cgroup.create("a")?;
        Ok(Self { files, cgroup, own })
    }

    /// A shell in a cgroup of its own, with these arguments before it. `$K` is knobgate, `$D` the directory of the files, and `$C` a
    /// cgroup.
    fn shell(&self, before: &[String], script: &str) -> Result<(bool, String), Failed> {
        let mut arguments = before.to_vec();
        arguments.extend(["sh", "-c", script].map(str::to_owned));
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]).current_dir(&self.files).stdin(Stdio::null());
        command.env("K", self.files.path().join("knobgate")).env("D", self.files.path());
        command.env("C", self.cgroup.path().join("a"));
        start_inside(&mut command, &self.own)?;
        let output = command.output()?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&printed).into_owned()))
    }

    /// Runs a case with these privileges, and returns whether it did its work, and what it printed.
    fn play(&self, case: &Case, privileges: &Privileges) -> Result<(bool, String), Failed> {
        let prepared = self.shell(&[], &format!("set -e; {}", case.prepare))?;
        assert!(prepared.0, "{}: {}: {}", case.command, case.prepare, prepared.1);
        let (succeeded, printed) = self.shell(&with_only(privileges), case.does)?;
        let cleaned = self.shell(&[], case.clean)?;
        assert!(cleaned.0, "{}: {}: {}", case.command, case.clean, cleaned.1);
        Ok((succeeded && printed.contains(case.prints), printed))
    }
}

/// The command line of setpriv(1) that takes all other privileges away.
fn with_only(privileges: &Privileges) -> Vec<String> {
    let capabilities = privileges.iter().filter_map(|name| name.strip_prefix("CAP_"));
    let set = capabilities.fold("-all".to_owned(), |set, name| format!("{set},+{}", name.to_lowercase()));
    let mut options = vec!["setpriv".to_owned(), format!("--bounding-set={set}")];
    if privileges.contains("root") {
        options.push("--inh-caps=-all".to_owned());
    } else {
        options.extend(["--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned));
        // These survive an exec.
        options.extend([format!("--inh-caps={set}"), format!("--ambient-caps={set}")]);
    }
    options.push("--".to_owned());
    options
}

/// Whether an error says that this capability is missing. What `CAP_SYS_ADMIN` includes may be missed first.
fn is_named(capability: &str, printed: &str) -> bool {
    let included: &[&str] = match capability {
        "CAP_SYS_ADMIN" => &["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"],
        _ => &[],
    };
    included.iter().chain([&capability]).any(|name| printed.contains(name))
}

/// Fails unless a command does its work with what it names, and says what is missing when one of these is.
fn check(case: &Case, place: &Place) -> Result<(), Failed> {
    let Case { command, part, .. } = *case;
    let parts = named(command);
    let of_part = |wanted: &str| parts.iter().find(|(what, _)| what == wanted).map(|(_, names)| names);
    let needed = of_part(part).ok_or_else(|| format!("{command} names nothing {part}: {}", said(command)))?;
    // What it needs for everything comes first. A part that needs nothing does not need that either.
    let all = if needed.is_empty() { Privileges::new() } else { needed | &parts[0].1 };
    let (works, printed) = place.play(case, &all)?;
    if !works {
        return Err(format!("{all:?} is not enough: {printed}").into());
    }
    for one in needed {
        let (works, printed) = place.play(case, &(&all - &[one.clone()].into()))?;
        if works {
            return Err(format!("{one} is not needed: {printed}").into());
        }
        if one != "root" && !is_named(one, &printed) {
            return Err(format!("without {one}, it does not say so: {printed}").into());
        }
    }
    Ok(())
}

fn commands() -> Result<(), Failed> {
    let place = Place::new()?;
    // Each part of what each command says has a case.
    let of_cases: BTreeSet<(String, String)> =
        CASES.iter().map(|case| (case.command.to_owned(), case.part.to_owned())).collect();
    let names = all_commands().into_iter().filter(|name| !TESTED_ELSEWHERE.contains(&&**name));
    let parts = |name: String| named(&name).into_iter().map(move |(part, _)| (name.clone(), part));
    assert_eq!(of_cases, names.flat_map(parts).collect());
    let failed = CASES.iter().filter_map(|case| {
        let failed = check(case, &place).err()?;
        Some(format!("{} {}: {}\n", case.command, case.part, failed.message().unwrap_or_default()))
    });
    let failed: String = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.into()) }
}

fn page() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/privileges.md");
    let text = fs::read_to_string(path)?;
    let rows = text.lines().skip_while(|line| !line.starts_with("| command |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> =
        all_commands().iter().map(|command| format!("| `{command}` | {} |", said(command))).collect();
    assert_eq!(rows, expected);
    Ok(())
}

/// The option of setpriv(1) for root with what a command names, except for one capability. What it names, root included, has one part.
pub(crate) fn bounding_set(command: &str, without: Option<&str>) -> String {
    let [(_, named)] = &named(command)[..] else { panic!("{}", said(command)) };
    assert!(named.contains("root"), "{named:?}");
    with_only(&named.iter().filter(|name| Some(&***name) != without).cloned().collect())[1].clone()
}

fn agent() -> Result<(), Failed> {
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "web"))])?;
    // Linux 6.1 and earlier ask for it where CAP_SYS_ADMIN is enough for later ones: to query a cgroup.
    let mut privileges = bounding_set("agent", None);
    if profile().version < (6, 12) {
        privileges += ",+net_admin";
    }
    let mut through: Vec<&OsStr> = vec!["setpriv".as_ref(), privileges.as_ref()];
    // It has what the unit has. Later kernels do not count programs as locked memory.
    if profile().version < (5, 11) {
        through.splice(0..0, ["prlimit".as_ref(), "--memlock=unlimited".as_ref()]);
    }
    let command = machine.command_through(&through);
    machine.start_command(command)?;
    machine.make("web-1");
    machine.expect_on("web-1", &["web:agent"]);
    machine.end(Signal::TERM)?;
    let without = bounding_set("agent", Some("CAP_SYS_ADMIN"));
    let output = machine.command_through(&["setpriv".as_ref(), without.as_ref()]).output()?;
    assert!(!output.status.success(), "{output:?}");
    assert!(stderr(&output).contains("CAP_SYS_ADMIN"), "{output:?}");
    Ok(())
}
