//! The configuration files in examples/sysctl.d and their policies: what a file sets passes, and every altered value is
//! denied, whoever writes it.
//!
//! Two programs judge each write. The policy is on a cgroup, with EDOM for what it denies, and in a cgroup below it there is
//! a guard, which denies with EXDEV. The kernel runs the guard first, and the last errno counts. So EXDEV means that the
//! policy allows a write, and the machine's own knobs are not written.

use std::path::{Path, PathBuf};

use knobgate_hook::Profile;
use knobgate_kernel::Cgroup;
use knobgate_policy::KnobName;
use knobgate_testing::{Suite, Test, scratch, shell};
use libtest_mimic::Failed;

use crate::setting::{DetachOnDrop, attach, policy, stdout};

/// Who applies a file, with the command for that.
struct Tool {
    name: &'static str,
    command: &'static str,
    /// Whether it takes keys with globs, and exclusions from these.
    globs: bool,
    /// Whether it ends at the first error. It gets a file for each setting then.
    ends_at_errors: bool,
}

const TOOLS: [Tool; 3] = [
    Tool { name: "procps", command: "sysctl -p", globs: true, ends_at_errors: false },
    Tool { name: "busybox", command: "busybox sysctl -p", globs: false, ends_at_errors: true },
    Tool {
        name: "systemd-sysctl",
        command: "SYSTEMD_LOG_TARGET=console /usr/lib/systemd/systemd-sysctl",
        globs: true,
        ends_at_errors: false,
    },
];

const INTERFACES: &str = "eth0 lxc1 cilium_host vrrp.51 vrrp.52";

/// What the guard lets pass while a file is applied: knobs that the namespaces of the test own.
const OWN: &str = "net.**, kernel.{sem,shm*,msg*}";

/// Read-only outside of the initial network namespace (net/core/sysctl_net_core.c).
const READ_ONLY: [&str; 4] =
    ["net.core.rmem_default", "net.core.rmem_max", "net.core.wmem_default", "net.core.wmem_max"];

/// What each file is tested for: that it is, and that its settings are at least so many.
const FILES: [(&str, usize); 7] = [
    ("cluster-ports", 2),
    ("cni-override", 3),
    ("database", 15),
    ("hardening", 40),
    ("keepalived", 9),
    ("proxy", 14),
    ("systemd-defaults", 17),
];

const TESTS: &[Test] = &[
    ("what_a_configuration_file_sets_passes_its_policy", applied),
    ("every_altered_value_of_a_configuration_file_is_denied", altered),
];

/// The tests, which need others' programs.
pub(crate) fn with_tools() -> Suite {
    let need = |profile: &Profile| {
        let programs =
            ["/usr/sbin/sysctl", "/bin/busybox", "/usr/lib/systemd/systemd-sysctl", "/usr/sbin/ip"];
        let missing = programs.iter().find(|program| !Path::new(program).exists());
        missing.map(|program| format!("there is no {program}")).or_else(|| {
            let lacks = !profile.features().set_retval;
            lacks.then(|| format!("{profile} does not let programs choose the errno"))
        })
    };
    TESTS.iter().fold(Suite::default(), |suite, &(name, test)| suite.test(name, need, test))
}

/// A setting of a file: a key, and the value unless it is an exclusion.
#[derive(Clone)]
struct Setting {
    key: String,
    value: Option<String>,
    /// Whether errors are to be ignored.
    ignores_errors: bool,
}

impl Setting {
    fn is_for(&self, tool: &Tool) -> bool {
        tool.globs || !(self.key.contains('*') || self.value.is_none())
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sysctl.d")
}

fn settings(name: &str, least: usize) -> Result<Vec<Setting>, Failed> {
    let text = std::fs::read_to_string(directory().join(name).with_extension("conf"))?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let settings: Vec<Setting> = lines
        .map(|line| {
            let (key, value) = match line.split_once(" = ") {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (line, None),
            };
            let key_alone = key.trim_start_matches('-');
            let ignores_errors = value.is_some() && key_alone != key;
            let key = if value.is_some() { key_alone } else { key };
            Setting { key: key.to_owned(), value, ignores_errors }
        })
        .collect();
    let values = settings.iter().filter(|setting| setting.value.is_some()).count();
    assert!(values >= least, "{name}.conf sets only {values}");
    Ok(settings)
}

/// The settings as files for `tool`.
fn files(settings: &[Setting], tool: &Tool) -> Vec<String> {
    let line = |Setting { key, value, ignores_errors }: &Setting| match value {
        // BusyBox takes the `-` for a part of the name.
        Some(value) if *ignores_errors && tool.globs => format!("-{key} = {value}\n"),
        Some(value) => format!("{key} = {value}\n"),
        None => format!("{key}\n"),
    };
    let lines: Vec<String> = settings.iter().filter(|setting| setting.is_for(tool)).map(line).collect();
    if tool.ends_at_errors { lines } else { vec![lines.concat()] }
}

/// Applies files by `tool` in `cgroup`, then runs `script`. Returns what both say.
fn apply(cgroup: &Cgroup, tool: &Tool, files: &[String], script: &str) -> Result<String, Failed> {
    let directory = tempfile::tempdir()?;
    let mut commands = format!("for i in {INTERFACES}; do ip link add name $i type bridge || exit; done\n");
    for (number, text) in files.iter().enumerate() {
        let path = directory.path().join(format!("{number}.conf"));
        std::fs::write(&path, text)?;
        commands += &format!("{} {} 2>&1\n", tool.command, path.display());
    }
    let output = shell(cgroup, &format!("{commands}{script}")).output()?;
    let said = stdout(&output);
    assert!(!said.contains("not found") && output.stderr.is_empty(), "{}: {output:?}", tool.name);
    Ok(said)
}

/// Calls `check` for each file and tool, in a cgroup with the policy of that file and a guard.
fn for_each_file(
    names: [&'static str; 2],
    own: &str,
    check: impl Fn(&str, &[Setting], &Tool, &Cgroup) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let of_examples = std::fs::read_dir(directory())?.count();
    assert_eq!(of_examples, 2 * FILES.len() + 1, "each file and each policy, and what they are");
    let [attachment, guard] = names;
    for (name, least) in FILES {
        let text = std::fs::read_to_string(directory().join(name).with_extension("knob"))?;
        // Its denials, with another errno.
        let text = text
            .replace("\ndeny  write", "\ndeny(EDOM) write")
            .replace(&format!("policy {name}\n"), &format!("policy {attachment}\ndefault write deny(EDOM)\n"))
            .split("\ntest ")
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(text.contains("default write deny(EDOM)") && !text.contains("\ndeny "), "{text}");
        let parent = scratch();
        let child = parent.create("guarded")?;
        let _removed = RemoveOnDrop(&child);
        let _detached = [DetachOnDrop(attachment), DetachOnDrop(guard)];
        attach(policy(&text).path(), &parent, attachment);
        let guard_text = format!("policy {guard}\ndefault write deny(EXDEV)\n{own}");
        attach(policy(&guard_text).path(), &child, guard);
        let settings = settings(name, least)?;
        let is_writable = |setting: &&Setting| !READ_ONLY.contains(&setting.key.as_str());
        let settings: Vec<Setting> = settings.iter().filter(is_writable).cloned().collect();
        for tool in &TOOLS {
            check(name, &settings, tool, &child)?;
        }
    }
    Ok(())
}

struct RemoveOnDrop<'a>(&'a Cgroup);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.0.path());
    }
}

const ALLOWED: &str = "Invalid cross-device link";
const DENIED: [&str; 2] = ["Numerical argument out of domain", "Invalid argument"];
const MISSING: &str = "No such file or directory";
/// What BusyBox says then.
const UNKNOWN: &str = "is an unknown key";

/// The paths of the knobs that are set by name, each with its value.
fn named(settings: &[Setting]) -> Vec<(String, &str)> {
    let literal = settings.iter().filter(|setting| !setting.key.contains('*'));
    literal
        .filter_map(|Setting { key, value, .. }| {
            let path = String::from_utf8(KnobName::parse(key).ok()?.as_bytes().to_vec()).ok()?;
            Some((path, value.as_deref()?))
        })
        .collect()
}

/// A script that shows what these knobs hold, for [`held`].
fn show(knobs: &[(String, &str)]) -> String {
    knobs.iter().map(|(path, _)| format!("echo holds $(cat '/proc/sys/{path}' 2>&1)\n")).collect()
}

fn held(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| line.strip_prefix("holds "))
}

fn applied() -> Result<(), Failed> {
    let names = ["t-conf-applied", "t-conf-own"];
    for_each_file(names, &format!("allow write {OWN}\n"), |name, settings, tool, cgroup| {
        let is_own = |path: &str| {
            path.starts_with("net/") || ["kernel/sem", "kernel/shm"].iter().any(|own| path.starts_with(own))
        };
        let own: Vec<_> = named(settings).into_iter().filter(|(path, _)| is_own(path)).collect();
        let said = apply(cgroup, tool, &files(settings, tool), &show(&own))?;
        let denied = DENIED.iter().find(|denied| said.contains(**denied));
        assert!(denied.is_none(), "{name} by {}: {said}", tool.name);
        let others = named(settings).into_iter().filter(|(path, _)| !is_own(path)).count();
        let allowed = said
            .lines()
            .filter(|line| [ALLOWED, MISSING, UNKNOWN].iter().any(|why| line.contains(why)))
            .count();
        // systemd does not write what a knob holds.
        assert!(allowed * 2 >= others, "{name}: {allowed} of {others} by {}: {said}", tool.name);
        let algorithms = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
        // Not every kernel has every algorithm, and not every network namespace has every knob.
        let is_there = |path: &str, value: &str, held: &str| {
            !held.contains(MISSING) && (!path.ends_with("congestion_control") || algorithms.contains(value))
        };
        let mut checked = 0;
        for ((path, value), held) in own.iter().zip(held(&said)) {
            if is_there(path, value, held) {
                assert_eq!(held, *value, "{path} by {}: {said}", tool.name);
                checked += 1;
            }
        }
        assert!(checked > 0 && checked * 2 >= own.len(), "{name}: {checked} of {}: {said}", own.len());
        Ok(())
    })
}

/// Other values like this one.
fn others(value: &str) -> Vec<String> {
    let numbers: Option<Vec<i64>> = value.split(' ').map(|number| number.parse().ok()).collect();
    let Some(numbers) = numbers else {
        return vec![format!("{value}x"), value[1..].to_owned()];
    };
    let changed = |from: usize, by: i64| {
        let number =
            |(index, number): (usize, &i64)| (number + if index < from { 0 } else { by }).to_string();
        numbers.iter().enumerate().map(number).collect::<Vec<_>>().join(" ")
    };
    let last = numbers.len() - 1;
    vec![
        changed(0, 1),
        changed(0, -1),
        changed(last, 1),
        format!("{value} 0"),
        format!("0x{value}f"),
        format!("{value}1"),
    ]
}

/// The settings with others of these values, the `variant`-th of them.
fn alter(settings: &[Setting], variant: usize) -> Vec<Setting> {
    let other = |value: &str| {
        let others = others(value);
        others[variant % others.len()].clone()
    };
    let altered = settings
        .iter()
        // An error that is ignored would not be shown.
        .map(|setting| Setting {
            value: setting.value.as_deref().map(other),
            ignores_errors: false,
            ..setting.clone()
        });
    altered.collect()
}

fn altered() -> Result<(), Failed> {
    for_each_file(["t-conf-altered", "t-conf-guard"], "", |name, settings, tool, cgroup| {
        for variant in 0..others("1").len() {
            let altered = alter(settings, variant);
            let named = named(&altered);
            let files = files(&altered, tool);
            let said = apply(cgroup, tool, &files, &show(&named))?;
            let context = format!("{name} by {}:\n{}\n{said}", tool.name, files.concat());
            assert!(!said.contains(ALLOWED), "{context}");
            let lines = |words: &[&str]| {
                said.lines().filter(|line| words.iter().any(|word| line.contains(word))).count()
            };
            let (denied, missing) = (
                lines(&DENIED),
                lines(&[MISSING, UNKNOWN]) - held(&said).filter(|held| held.contains(MISSING)).count(),
            );
            // systemd does not write what a knob holds.
            let held = named.iter().zip(held(&said)).filter(|((_, value), held)| value == held).count();
            let writes =
                files.iter().flat_map(|file| file.lines()).filter(|line| line.contains(" = ")).count();
            assert!(denied > 0 && denied + missing + held >= writes, "{context}");
        }
        Ok(())
    })
}
