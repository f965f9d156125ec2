//! Policies made from the scopes of knobs: what the whole machine has one of is denied, and what a namespace has its own of is allowed.
//! User namespaces count as the machine's.

use std::collections::HashSet;

use knobgate_catalogue::{Knob, Scope, all};

use super::cover::{Cover, Tree};
use crate::{Source, format};

/// The most columns of a line.
const COLUMNS: usize = 100;

/// A policy to start with, about writes of these knobs. It denies those that the whole machine has one of, on any kernel of the catalogue,
/// and allows those that belong to a namespace on all of them, except for user namespaces. Other writes are denied by its default.
///
/// ```
/// use knobgate_policy::catalogue::{matching, starting_policy};
/// use knobgate_policy::{CheckOptions, KnobPattern, Source, parse};
///
/// let knobs = matching(&KnobPattern::parse("kernel.{core_pattern,hostname}")?).unwrap_or_default();
/// let text = starting_policy(&knobs);
/// assert!(text.contains("\ndeny write kernel.core_pattern\nallow write kernel.hostname\n"), "{text}");
/// assert!(parse(Source::new("start.knob", text), &CheckOptions::default()).unwrap().warnings().is_empty());
/// # Ok::<(), knobgate_policy::NotationError>(())
/// ```
pub fn starting_policy(knobs: &[&'static Knob]) -> String {
    let tree = tree(knobs);
    let mut text = format!(
        "# Made from the catalogue of knobs, which has those of {}. Knobs that the whole machine has one of are denied;\n\
         # those that belong to a namespace are allowed, except for those of user namespaces, which are seldom a workload's own.\n\
         # In the machine's own namespaces, these are the machine's, too: this policy is for workloads that have their own.\n\
         policy start\n\ndefault read  allow\ndefault write deny\n",
        super::catalogued()
    );
    for block in tree.blocks() {
        text.push('\n');
        for (cover, patterns) in &block {
            text.push_str(&rule(*cover, patterns));
        }
    }
    for (cover, name, verdict) in [
        (Cover::Host, "knobs of the machine are denied", "deny EPERM"),
        (Cover::Namespace, "knobs of a namespace are allowed", "allow"),
    ] {
        // One of each directory is enough to see what is meant.
        let mut seen = HashSet::new();
        let examples = tree.examples(cover);
        let examples = examples
            .iter()
            .filter(|name| seen.insert(name.split('/').next()))
            .map(|name| name.replace('/', "."));
        text.push_str(&test(name, examples, verdict));
    }
    formatted(text)
}

/// The text of the preset `host-knobs` as the catalogue gives it: it denies writes of the knobs that the whole machine has one of, and
/// of those of user namespaces.
pub fn host_knobs_preset() -> String {
    let all: Vec<&'static Knob> = all().iter().collect();
    let tree = tree(&all);
    let mut text = format!(
        "# Denies writes of the knobs that the whole machine has one of, on any kernel of {}: what one container writes, all others\n\
         # get; and of those that belong to a user namespace, since most containers share the machine's. Knobs of other namespaces are\n\
         # left to the rules after these, and to the default: no rule here allows anything.\n\
         #\n\
         # `knobgate knobs` lists the knobs, with the scope of each. A pattern stands for several where all known ones that it\n\
         # matches are the machine's.\n",
        super::catalogued()
    );
    let mut examples = Vec::new();
    for (_, patterns) in tree.covers(Cover::Host) {
        text.push('\n');
        text.push_str(&rule(Cover::Host, &patterns));
        examples.extend(patterns);
    }
    let examples = examples.iter().filter_map(|pattern| tree.example(pattern));
    text.push_str(&test(
        "knobs of the machine are denied",
        examples.map(|name| name.replace('/', ".")),
        "deny EPERM",
    ));
    formatted(text)
}

/// The tree of all knobs, of which these are asked for.
fn tree(knobs: &[&'static Knob]) -> Tree {
    let wanted: HashSet<&str> = knobs.iter().map(|knob| knob.pattern()).collect();
    // What nobody can write needs no rule.
    let writable =
        all().iter().filter(|knob| knob.variants().iter().any(|variant| variant.mode().is_writable()));
    Tree::new(writable.map(|knob| {
        let cover = if is_host(knob) { Cover::Host } else { Cover::Namespace };
        (knob.pattern(), cover, wanted.contains(knob.pattern()))
    }))
}

/// Whether it counts as the machine's: the machine has one of it on any kernel, or each user namespace has one. Containers have network and
/// IPC namespaces of their own, and share the machine's user namespace unless somebody asks for another one.
fn is_host(knob: &Knob) -> bool {
    knob.variants().iter().any(|variant| matches!(variant.scope(), Scope::Host | Scope::User))
}

/// A rule in lines that are not too long.
fn rule(cover: Cover, patterns: &[String]) -> String {
    let mut text = match cover {
        Cover::Host => "deny write".to_owned(),
        Cover::Namespace => "allow write".to_owned(),
    };
    let mut column = text.len();
    for (index, pattern) in patterns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        if index > 0 && column + pattern.len() + 3 > COLUMNS {
            text.push_str("\n ");
            column = 1;
        }
        text.push(' ');
        text.push_str(pattern);
        column += pattern.len() + 2;
    }
    text.push('\n');
    text
}

fn test(name: &str, knobs: impl Iterator<Item = String>, verdict: &str) -> String {
    let steps: String = knobs.map(|knob| format!("  write {knob} \"1\\n\" => {verdict}\n")).collect();
    if steps.is_empty() { String::new() } else { format!("\ntest \"{name}\" {{\n{steps}}}\n") }
}

fn formatted(text: String) -> String {
    let source = Source::new("start.knob", text);
    format(&source).unwrap_or_else(|_| source.text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, CheckOptions, KnobName, KnobPattern, PolicyFile, Verdict, evaluate, parse, presets};

    fn policy(text: String) -> PolicyFile {
        let file = parse(Source::new("start.knob", text.clone()), &CheckOptions::default().knobs(&[]));
        let file = file.unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        assert!(file.warnings().is_empty(), "{:?}\n{text}", file.warnings());
        file
    }

    /// A name of each knob that can be written, and whether it is the machine's.
    fn names() -> impl Iterator<Item = (KnobName, bool)> {
        let writable =
            all().iter().filter(|knob| knob.variants().iter().any(|variant| variant.mode().is_writable()));
        writable.map(|knob| {
            let component = |component: &str| {
                if component.starts_with('<') { "x.0".to_owned() } else { component.to_owned() }
            };
            let name = knob.pattern().split('/').map(component).collect::<Vec<_>>().join("/");
            (KnobName::from_path(name).unwrap(), is_host(knob))
        })
    }

    fn is_denied(file: &PolicyFile, name: &KnobName) -> bool {
        matches!(evaluate(file.policy(), &Access::write(name.clone(), "1\n")).verdict, Verdict::Deny(_))
    }

    #[test]
    fn each_knob_is_decided_by_its_scope() {
        let all: Vec<&'static Knob> = all().iter().collect();
        let file = policy(starting_policy(&all));
        for (name, is_host) in names() {
            assert_eq!(is_denied(&file, &name), is_host, "{name}");
        }
    }

    #[test]
    fn knobs_of_user_namespaces_count_as_the_machines() {
        let of = |name: &str| is_host(knobgate_catalogue::find(name.as_bytes()).unwrap());
        for name in
            ["vm/swappiness", "kernel/pid_max", "user/max_inotify_watches", "user/max_user_namespaces"]
        {
            assert!(of(name), "{name}");
        }
        for name in ["net/ipv4/ip_forward", "net/ipv4/conf/eth0/rp_filter", "kernel/sem"] {
            assert!(!of(name), "{name}");
        }
    }

    #[test]
    fn knobs_that_are_not_asked_for_are_denied() {
        for wanted in ["net.**", "kernel.*", "net.ipv4.conf.*.*", "net.ipv4.tcp_*", "vm.**", "kernel.shm*"] {
            let pattern = KnobPattern::parse(wanted).unwrap();
            let file = policy(starting_policy(&super::super::matching(&pattern).unwrap()));
            for (name, is_host) in names() {
                let is_wanted = pattern.matches(name.as_bytes());
                assert_eq!(
                    is_denied(&file, &name),
                    is_host || !is_wanted,
                    "{name} of {wanted}:\n{}",
                    file.source().text()
                );
            }
        }
        assert!(policy(starting_policy(&[])).policy().rules().is_empty());
    }

    /// If the catalogue has changed since this version was published, it stays, and the text becomes the next version.
    #[test]
    fn the_newest_preset_is_what_the_catalogue_gives() {
        let preset = presets::find("host-knobs").unwrap();
        let text = host_knobs_preset();
        if std::env::var_os("KNOBGATE_UPDATE_PRESET").is_some() {
            let path = format!("{}/presets/{preset}.knob", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(preset.text(), text, "to write it again, run this test with KNOBGATE_UPDATE_PRESET=1");
    }

    #[test]
    fn the_preset_denies_the_knobs_of_the_machine_and_no_other() {
        let rules = presets::find("host-knobs").unwrap().rules();
        for default in ["allow", "deny(ENOENT)"] {
            let file = policy(format!("policy x\ndefault write {default}\n{rules}"));
            for (name, is_host) in names() {
                let verdict = evaluate(file.policy(), &Access::write(name.clone(), "1\n")).verdict;
                assert_eq!(verdict == Verdict::Deny(crate::Errno::EPERM), is_host, "{name}");
            }
        }
    }
}
