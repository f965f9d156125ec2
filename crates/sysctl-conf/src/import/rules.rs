//! The rules, in an order in which the first one that matches means what the files mean.
//!
//! They stay in the order of the files, with these exceptions. What keeps a glob away from a knob (a setting or an exclusion
//! of that knob) comes before the glob. Globs that compare texts come before those that compare lists, and these before those
//! that compare single numbers: for a knob that several of them match, each condition can then be evaluated for the values
//! of those before it.

use std::collections::{BTreeSet, HashMap, HashSet};

use knobgate_policy::{Action, Condition, Errno, Kinds, KnobName, KnobPattern, PolicyError, Rule, limits};

use super::ConfFile;
use super::condition::{Shape, equals};
use crate::{ConfLine, Key, LineError};

/// What is written, line by line, and what the tests are about.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// The settings that count, in the order of the files.
    pub(crate) settings: Vec<Assignment>,
    /// The exclusions that count.
    pub(crate) exclusions: Vec<Exclusion>,
    /// Those of the settings that are of globs.
    globs: Vec<usize>,
    /// The knobs with a setting of their own.
    names: HashSet<KnobName>,
    pub(crate) notes: Vec<String>,
}

/// The lines that are wrong, each with the name of its file.
pub(crate) type FileErrors = Vec<(String, LineError)>;

/// A line of the policy.
#[derive(Debug)]
pub(crate) enum Item {
    Blank,
    /// Without its `#`.
    Comment(String),
    Rule {
        rule: Rule,
        /// What comes after it on its line.
        comment: Option<&'static str>,
    },
}

/// A setting that counts.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) key: Key,
    pub(crate) pattern: KnobPattern,
    pub(crate) value: String,
    /// Holds for this value alone.
    pub(crate) condition: Condition,
    /// Allows this value alone.
    allow: Rule,
    /// Denies what globs would allow.
    deny: Rule,
    shape: Shape,
    ignores_errors: bool,
}

/// An exclusion that counts.
#[derive(Debug)]
pub(crate) struct Exclusion {
    pub(crate) pattern: KnobPattern,
    deny: Rule,
}

/// A line that is no comment, with the blank lines and comments before it.
struct Entry {
    before: Vec<Item>,
    content: Content,
}

enum Content {
    /// An index into the settings.
    Setting(usize),
    /// An index into the exclusions.
    Exclusion(usize),
    /// What has no effect, or is a heading, as a comment.
    Nothing(String),
}

impl Plan {
    /// # Errors
    /// The lines that are wrong, each with the name of its file.
    pub(crate) fn of(files: &[ConfFile<'_>]) -> Result<Self, FileErrors> {
        let mut plan = Self::default();
        let (entries, after) = plan.entries(files)?;
        Emission::new(&mut plan, entries).emit_all();
        plan.items.extend(after);
        Ok(plan)
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = Rule> {
        self.items.iter().filter_map(|item| match item {
            Item::Rule { rule, .. } => Some(rule.clone()),
            _ => None,
        })
    }

    /// Makes comments of these rules, which are never reached: all that they match is set apart.
    pub(crate) fn drop_rules(&mut self, dropped: &BTreeSet<usize>) {
        let rules = self.items.iter_mut().filter(|item| matches!(item, Item::Rule { .. }));
        for (_, item) in rules.enumerate().filter(|(index, _)| dropped.contains(index)) {
            if let Item::Rule { rule, .. } = item {
                *item = Item::Comment(format!(" {rule}: other lines set what this matches, or exclude it"));
            }
        }
    }

    /// Whether a knob of this key has a setting or an exclusion of its own, so that globs leave it alone.
    pub(crate) fn is_set_apart(&self, name: &KnobName) -> bool {
        self.names.contains(name)
            || self.exclusions.iter().any(|exclusion| exclusion.pattern.matches(name.as_bytes()))
    }

    /// The settings of globs.
    pub(crate) fn globs(&self) -> impl Iterator<Item = &Assignment> {
        self.globs.iter().map(|&glob| &self.settings[glob])
    }

    /// The lines that are no comments, and the comments at the end.
    fn entries(&mut self, files: &[ConfFile<'_>]) -> Result<(Vec<Entry>, Vec<Item>), FileErrors> {
        let mut errors = FileErrors::new();
        let last = last_lines(files);
        let mut entries = Vec::new();
        let mut before = Vec::new();
        for (number, file) in files.iter().enumerate() {
            errors.extend(file.conf.errors().iter().map(|error| (file.name.to_owned(), error.clone())));
            if files.len() > 1 {
                before.push(Item::Blank);
                let heading = Content::Nothing(format!(" From {}:", file.name));
                entries.push(Entry { before: std::mem::take(&mut before), content: heading });
                before.push(Item::Blank);
            }
            for (line, content) in file.conf.lines() {
                let overridden = |key: &Key| {
                    let (by, by_line) = last[&key.to_string()];
                    ((by, by_line) != (number, *line)).then(|| format!("{}:{by_line}", files[by].name))
                };
                let content = match content {
                    ConfLine::Blank => {
                        before.push(Item::Blank);
                        continue;
                    }
                    ConfLine::Comment(comment) => {
                        before.push(Item::Comment(comment.clone()));
                        continue;
                    }
                    ConfLine::Setting { key, value, ignores_errors } => {
                        if let Some(by) = overridden(key) {
                            Ok(Content::Nothing(format!(" {key} = {value}: {by} counts instead")))
                        } else {
                            self.setting(file.name, *line, key, value, *ignores_errors)
                        }
                    }
                    ConfLine::Exclusion(key) => match overridden(key) {
                        Some(by) => Ok(Content::Nothing(format!(" -{key}: {by} counts instead"))),
                        None => self.exclusion(*line, key),
                    },
                };
                match content {
                    Ok(content) => entries.push(Entry { before: std::mem::take(&mut before), content }),
                    Err(error) => errors.push((file.name.to_owned(), error)),
                }
            }
        }
        if errors.is_empty() { Ok((entries, before)) } else { Err(errors) }
    }

    fn setting(
        &mut self,
        file: &str,
        line: usize,
        key: &Key,
        value: &str,
        ignores_errors: bool,
    ) -> Result<Content, LineError> {
        let pattern = pattern_of(line, key)?;
        if pattern.check_is_sysctl().is_err() {
            self.notes.push(format!("{file}:{line}: {key} is left out: it is {NO_SYSCTL}"));
            return Ok(Content::Nothing(format!(" {key} = {value}: {NO_SYSCTL}")));
        }
        if let Some(at) = value.find([' ', '\t']).filter(|at| value[*at..].trim_start().starts_with('#')) {
            self.notes.push(format!(
                "{file}:{line}: the value of {key} includes `{}`: a comment has a line of its own",
                value[at..].trim_start()
            ));
        }
        let no_rule = |error| match error {
            PolicyError::TextTooLong { length } => {
                let most = limits::VALUE_MAX - 1;
                let message =
                    format!("the value of `{key}` has {length} bytes, and a rule can look at {most}");
                LineError::new(line, message)
                    .help("take the line out, and write a rule without a condition for this knob")
            }
            error => LineError::new(line, format!("no rule can say what `{key}` is set to: {error}")),
        };
        let (shape, condition) = equals(&pattern, value).map_err(no_rule)?;
        let allow = write(Action::Allow, &pattern).and_then(|rule| rule.with_condition(condition.clone()));
        let (allow, deny) = (allow.map_err(no_rule)?, deny(&pattern).map_err(no_rule)?);
        match key {
            Key::Glob(_) => self.globs.push(self.settings.len()),
            Key::Knob(name) => {
                self.names.insert(name.clone());
            }
        }
        let (key, value) = (key.clone(), value.to_owned());
        let setting = Assignment { key, pattern, value, condition, allow, deny, shape, ignores_errors };
        self.settings.push(setting);
        Ok(Content::Setting(self.settings.len() - 1))
    }

    fn exclusion(&mut self, line: usize, key: &Key) -> Result<Content, LineError> {
        let pattern = pattern_of(line, key)?;
        let Ok(deny) = deny(&pattern) else {
            return Ok(Content::Nothing(format!(" -{key}: {NO_SYSCTL}")));
        };
        self.exclusions.push(Exclusion { pattern, deny });
        Ok(Content::Exclusion(self.exclusions.len() - 1))
    }
}

const NO_SYSCTL: &str = "not a sysctl, and no policy applies to it";

fn pattern_of(line: usize, key: &Key) -> Result<KnobPattern, LineError> {
    key.pattern().map_err(|error| LineError::key(line, &key.to_string(), &error))
}

fn write(action: Action, pattern: &KnobPattern) -> Result<Rule, PolicyError> {
    Rule::new(action, Kinds::Write, [pattern.clone()])
}

fn deny(pattern: &KnobPattern) -> Result<Rule, PolicyError> {
    write(Action::Deny(Errno::EPERM), pattern)
}

/// The file and line of the last setting or exclusion of each key, by the key's notation.
fn last_lines(files: &[ConfFile<'_>]) -> HashMap<String, (usize, usize)> {
    let mut last = HashMap::new();
    for (number, file) in files.iter().enumerate() {
        for (line, content) in file.conf.lines() {
            if let ConfLine::Setting { key, .. } | ConfLine::Exclusion(key) = content {
                last.insert(key.to_string(), (number, *line));
            }
        }
    }
    last
}

/// Puts entries in order.
struct Emission<'a> {
    plan: &'a mut Plan,
    /// `None` for those that are done.
    entries: Vec<Option<Entry>>,
    /// All globs whose conditions come before those of this shape are done.
    globs_before: Option<Shape>,
}

impl<'a> Emission<'a> {
    fn new(plan: &'a mut Plan, entries: Vec<Entry>) -> Self {
        Self { plan, entries: entries.into_iter().map(Some).collect(), globs_before: None }
    }

    fn emit_all(mut self) {
        self.emit_where(|_, _| true);
    }

    /// Emits the entries that are `wanted`, in order.
    fn emit_where(&mut self, wanted: impl Fn(&Plan, &Content) -> bool) {
        for entry in 0..self.entries.len() {
            if self.entries[entry].as_ref().is_some_and(|entry| wanted(self.plan, &entry.content)) {
                self.emit(entry);
            }
        }
    }

    /// Emits an entry, and before it what has to come before.
    fn emit(&mut self, entry: usize) {
        match self.entries[entry].as_ref().map(|entry| &entry.content) {
            Some(&Content::Setting(setting)) => {
                let Assignment { key, shape, .. } = &self.plan.settings[setting];
                if let (Key::Glob(glob), shape) = (key.clone(), *shape) {
                    self.blank_before(entry);
                    if self.globs_before < Some(shape) {
                        self.emit_where(|plan, content| is_glob_before(plan, content, shape));
                        self.globs_before = self.globs_before.max(Some(shape));
                    }
                    self.emit_where(|plan, content| keeps_away(plan, content, &glob));
                }
            }
            Some(&Content::Exclusion(exclusion)) => {
                let pattern = self.plan.exclusions[exclusion].pattern.clone();
                self.emit_where(|plan, content| is_setting_of_knob(plan, content, &pattern));
            }
            _ => {}
        }
        let Some(Entry { before, content }) = self.entries[entry].take() else { return };
        self.plan.items.extend(before);
        match content {
            Content::Setting(setting) => self.setting(setting),
            Content::Exclusion(exclusion) => self.exclusion(exclusion),
            Content::Nothing(comment) => self.plan.items.push(Item::Comment(comment)),
        }
    }

    /// Emits a blank line if one comes before `entry`, so that what is moved before it stays with it.
    fn blank_before(&mut self, entry: usize) {
        if let Some(Entry { before, .. }) = &self.entries[entry]
            && let Some(Item::Blank) = before.first()
        {
            self.plan.items.push(Item::Blank);
        }
    }

    fn setting(&mut self, setting: usize) {
        let setting = &self.plan.settings[setting];
        let comment = setting.ignores_errors.then_some("-: an error is ignored");
        let mut items = vec![Item::Rule { rule: setting.allow.clone(), comment }];
        if let Key::Knob(name) = &setting.key {
            let mut globs = self.plan.globs().filter(|glob| glob.pattern.matches(name.as_bytes()));
            if globs.any(|glob| glob.condition != setting.condition) {
                items.push(Item::Rule { rule: setting.deny.clone(), comment: None });
            }
        }
        self.plan.items.extend(items);
    }

    fn exclusion(&mut self, exclusion: usize) {
        let Exclusion { pattern, deny } = &self.plan.exclusions[exclusion];
        let has_effect = match pattern.literal() {
            Some(name) => self.plan.globs().any(|glob| glob.pattern.matches(name)),
            None => !self.plan.globs.is_empty(),
        };
        let item = if has_effect {
            Item::Rule { rule: deny.clone(), comment: None }
        } else {
            Item::Comment(format!(" -{pattern}: no glob matches it"))
        };
        self.plan.items.push(item);
    }
}

/// Whether it is the setting of a glob whose condition comes before those of this shape.
fn is_glob_before(plan: &Plan, content: &Content, shape: Shape) -> bool {
    match *content {
        Content::Setting(setting) => {
            let setting = &plan.settings[setting];
            matches!(setting.key, Key::Glob(_)) && setting.shape < shape
        }
        _ => false,
    }
}

/// Whether it keeps `glob` away from a knob.
fn keeps_away(plan: &Plan, content: &Content, glob: &KnobPattern) -> bool {
    match *content {
        Content::Exclusion(exclusion) => {
            plan.exclusions[exclusion].pattern.literal().is_none_or(|name| glob.matches(name))
        }
        _ => is_setting_of_knob(plan, content, glob),
    }
}

/// Whether it is the setting of one knob, which `pattern` matches.
fn is_setting_of_knob(plan: &Plan, content: &Content, pattern: &KnobPattern) -> bool {
    match *content {
        Content::Setting(setting) => {
            let key = &plan.settings[setting].key;
            matches!(key, Key::Knob(name) if pattern.matches(name.as_bytes()))
        }
        _ => false,
    }
}
