//! Which of all settings a loader leaves in a knob.
//!
//! This is what systemd-sysctl does (`parse_file` and `apply_all`, systemd's src/sysctl/sysctl.c), which applies the files when a
//! machine boots. procps-ng's sysctl(8) agrees, except for three things (`write_setting_list`, src/sysctl.c): it takes the key of an
//! exclusion as a glob; it writes a knob that has a setting and, later, an exclusion; and a line that repeats an earlier one
//! moves its glob to the end.

use std::collections::{BTreeMap, HashMap};

use knobgate_policy::KnobName;

use crate::{Conf, ConfLine, Key};

/// The settings of all files that were added.
///
/// A later setting of a key overrides an earlier one, and so does a later exclusion. A glob sets no knob that has a setting or an
/// exclusion of its own. If several globs match a knob, the last one counts.
///
/// ```
/// use knobgate_policy::KnobName;
/// use knobgate_sysctl_conf::{Assignments, Conf};
///
/// let mut assignments = Assignments::new();
/// assignments.add(0, &Conf::parse(b"net.ipv4.conf.*.rp_filter = 1\n-net.ipv4.conf.lo.rp_filter\nvm.swappiness = 60\n"));
/// assignments.add(1, &Conf::parse(b"vm.swappiness = 10\n"));
///
/// let names = ["net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/lo/rp_filter", "vm/swappiness"];
/// let names = names.map(|name| KnobName::from_path(name).unwrap());
/// let expanded = assignments.expand(&names);
/// let values: Vec<_> = expanded.knobs.iter().map(|(knob, set)| (knob.to_string(), set.value, set.file, set.line)).collect();
/// assert_eq!(values, [
///     ("net.ipv4.conf.eth0.rp_filter".to_owned(), "1", 0, 1),
///     ("vm.swappiness".to_owned(), "10", 1, 1),
/// ]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    /// Those of single knobs.
    knobs: BTreeMap<KnobName, Line>,
    /// Those of globs, in the order in which they are applied.
    globs: BTreeMap<usize, (Key, Line)>,
    /// Where a glob is, by its text.
    glob_order: HashMap<String, usize>,
}

/// A setting or an exclusion.
#[derive(Debug, Clone)]
struct Line {
    /// `None` excludes the key from globs.
    value: Option<String>,
    ignores_errors: bool,
    file: usize,
    line: usize,
}

/// What sets a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The value, without the newline with which it is written.
    pub value: &'a str,
    /// Whether the line begins with `-`: that the value cannot be written is no error.
    pub ignores_errors: bool,
    /// The number that the file was [added](Assignments::add) with.
    pub file: usize,
    /// The line, counted from 1.
    pub line: usize,
    /// The glob, if the line has one.
    pub glob: Option<&'a Key>,
}

/// What all settings mean on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded<'a> {
    /// What sets each knob, by name. A knob whose own name is set is here even if the machine does not have it.
    pub knobs: Vec<(KnobName, Assignment<'a>)>,
    /// The globs that match no knob of the machine.
    pub unmatched: Vec<Assignment<'a>>,
}

impl Assignments {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the lines of a file, which count more than those that were added before. `file` is a number for [`Assignment::file`].
    pub fn add(&mut self, file: usize, conf: &Conf) {
        for (line, content) in conf.lines() {
            let (key, value, ignores_errors) = match content {
                ConfLine::Setting { key, value, ignores_errors } => {
                    (key, Some(value.clone()), *ignores_errors)
                }
                ConfLine::Exclusion(key) => (key, None, true),
                ConfLine::Blank | ConfLine::Comment(_) => continue,
            };
            self.set(key, Line { value, ignores_errors, file, line: *line });
        }
    }

    fn set(&mut self, key: &Key, mut new: Line) {
        match key {
            Key::Knob(name) => {
                let known = self.knobs.remove(name);
                new.ignores_errors |= known.is_some_and(|known| known.repeats(&new) && known.ignores_errors);
                self.knobs.insert(name.clone(), new);
            }
            Key::Glob(glob) => {
                let next = self.globs.last_key_value().map_or(0, |(last, _)| last + 1);
                let order = self.glob_order.entry(glob.to_string()).or_insert(next);
                match self.globs.get(order) {
                    // A line that repeats one changes nothing, not even the order.
                    Some((_, known)) if known.repeats(&new) => new.ignores_errors |= known.ignores_errors,
                    _ => {
                        self.globs.remove(order);
                        *order = next;
                    }
                }
                self.globs.insert(*order, (key.clone(), new));
            }
        }
    }

    /// What they mean on a machine with the knobs `names`.
    pub fn expand(&self, names: &[KnobName]) -> Expanded<'_> {
        let single =
            self.knobs.iter().filter_map(|(name, line)| Some((name.clone(), line.assignment(None)?)));
        let mut knobs: BTreeMap<KnobName, Assignment<'_>> = single.collect();
        for name in names.iter().filter(|name| !self.knobs.contains_key(name)) {
            let set_by = |(glob, line): &'_ &(Key, Line)| line.value.is_some() && glob.names(name);
            let found = self.globs.values().rev().find(set_by);
            if let Some(assignment) = found.and_then(|(glob, line)| line.assignment(Some(glob))) {
                knobs.insert(name.clone(), assignment);
            }
        }
        let unmatched = self.globs.values().filter(|(glob, _)| !names.iter().any(|name| glob.names(name)));
        let unmatched = unmatched.filter_map(|(glob, line)| line.assignment(Some(glob))).collect();
        Expanded { knobs: knobs.into_iter().collect(), unmatched }
    }
}

impl Line {
    fn repeats(&self, other: &Self) -> bool {
        self.value == other.value
    }

    /// `None` for an exclusion.
    fn assignment<'a>(&'a self, glob: Option<&'a Key>) -> Option<Assignment<'a>> {
        let Self { value, ignores_errors, file, line } = self;
        let value = value.as_deref()?;
        Some(Assignment { value, ignores_errors: *ignores_errors, file: *file, line: *line, glob })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = [
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/eth0/rp_filter",
        "net/ipv4/conf/lo/rp_filter",
        "net/ipv6/conf/lo/mtu",
        "vm/swappiness",
    ];

    /// `knob = value FILE:LINE` for each knob that is set, and the lines of globs that match nothing.
    fn expanded(files: &[&str]) -> (Vec<String>, Vec<usize>) {
        let mut assignments = Assignments::new();
        for (file, text) in files.iter().enumerate() {
            assignments.add(file, &Conf::parse(text.as_bytes()));
        }
        let names = NAMES.map(|name| KnobName::from_path(name).unwrap());
        let expanded = assignments.expand(&names);
        let text = |(knob, set): &(KnobName, Assignment<'_>)| {
            let dash = if set.ignores_errors { "-" } else { "" };
            let knob = knob.to_string().replace("net.ipv4.conf.", "").replace(".rp_filter", "");
            format!("{dash}{knob} = {} {}:{}", set.value, set.file, set.line)
        };
        let unmatched = expanded.unmatched.iter().map(|set| set.line).collect();
        (expanded.knobs.iter().map(text).collect(), unmatched)
    }

    #[test]
    fn the_setting_that_systemd_leaves_in_a_knob_counts() {
        let glob = "net.ipv4.conf.*.rp_filter";
        for (files, expected) in [
            (vec!["vm.swappiness = 1\nvm.swappiness = 2\n"], vec!["vm.swappiness = 2 0:2"]),
            (vec!["vm.swappiness = 1\n", "vm/swappiness = 2\n"], vec!["vm.swappiness = 2 1:1"]),
            // Errors are ignored if one of two lines that say the same ignores them.
            (vec!["-vm.swappiness = 1\nvm.swappiness = 1\n"], vec!["-vm.swappiness = 1 0:2"]),
            (vec!["vm.swappiness = 1\n-vm.swappiness = 1\n"], vec!["-vm.swappiness = 1 0:2"]),
            (vec!["vm.swappiness = 1\n", "vm.swappiness = 1\n"], vec!["vm.swappiness = 1 1:1"]),
            (vec!["-vm.swappiness = 1\nvm.swappiness = 2\n"], vec!["vm.swappiness = 2 0:2"]),
            // An exclusion is a line for its key, so it overrides a setting.
            (vec!["vm.swappiness = 1\n-vm.swappiness\n"], vec![]),
            (vec!["-vm.swappiness\nvm.swappiness = 1\n"], vec!["vm.swappiness = 1 0:2"]),
            (
                vec![&format!("{glob} = 1\n-net.ipv4.conf.lo.rp_filter\nnet/ipv4/conf/all/rp_filter = 2\n")],
                vec!["all = 2 0:3", "eth0 = 1 0:1"],
            ),
            // Wherever the line of the knob is.
            (
                vec![
                    "net.ipv4.conf.lo.rp_filter = 0\n-net.ipv4.conf.all.rp_filter\n",
                    &format!("{glob} = 1\n"),
                ],
                vec!["eth0 = 1 1:1", "lo = 0 0:1"],
            ),
            // The last glob, but an exclusion is no glob.
            (
                vec![&format!(
                    "{glob} = 1\nnet.ipv4.conf.[el]*.rp_filter = 2\n-net.ipv4.conf.l*.rp_filter\n"
                )],
                vec!["all = 1 0:1", "eth0 = 2 0:2", "lo = 2 0:2"],
            ),
            // A glob that is given another value moves to the end, and one that is repeated stays.
            (
                vec![&format!("{glob} = 1\nnet.ipv4.conf.lo*.rp_filter = 2\n{glob} = 3\n")],
                vec!["all = 3 0:3", "eth0 = 3 0:3", "lo = 3 0:3"],
            ),
            (
                vec![&format!("{glob} = 1\nnet.ipv4.conf.lo*.rp_filter = 2\n{glob} = 1\n")],
                vec!["all = 1 0:3", "eth0 = 1 0:3", "lo = 2 0:2"],
            ),
            // One knob that the machine does not have.
            (vec!["vm.no_such_knob = 1\n"], vec!["vm.no_such_knob = 1 0:1"]),
        ] {
            assert_eq!(expanded(&files).0, expected, "{files:?}");
        }
    }

    #[test]
    fn globs_that_match_nothing_are_listed() {
        let text = "net.ipv4.conf.wg*.rp_filter = 1\nvm.swap* = 1\n-net.x.*\nvm.swappiness = 3\nnet.ipv6.conf.lo.m* = 2\n";
        let (knobs, unmatched) = expanded(&[text]);
        assert_eq!(knobs, ["net.ipv6.conf.lo.mtu = 2 0:5", "vm.swappiness = 3 0:4"]);
        // The one whose only knob has a setting of its own matches that.
        assert_eq!(unmatched, [1]);
    }
}
