//! From what was seen to rules, each with its comments.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_policy::{Access, AccessKind, Action, Errno, Kinds, KnobName, KnobPattern, PolicyError, Rule};

use crate::comment::one_line;
use crate::condition::{Allowed, condition};
use crate::host_knobs::{Reach, reach};
use crate::interfaces::{Interface, Leaf, pattern, pattern_of_all_interfaces};
use crate::policy_text::LearnOptions;
use crate::recording::{Group, Recording};

/// How many values of a rule the tests have.
pub(crate) const EXAMPLES_MAX: usize = 4;
/// How many names a comment has.
const NAMES_MAX: usize = 5;
/// The comment before the rule that denies what [`Leaf::general_names`] has.
pub(crate) const NO_INTERFACES: &str = "these are no interfaces, and the pattern after them would match them";

/// The rules for one knob, or for one knob of several interfaces, with their comments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) lines: Vec<Line>,
    /// What the rules allow, for tests.
    pub(crate) examples: Vec<Access>,
    /// What the rules deny, for tests.
    pub(crate) denied: Vec<Access>,
    /// Whether a comment has a rule that the policy does not have.
    pub(crate) leaves_out: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// Without `# `.
    Comment(String),
    Rule(Rule),
}

impl Block {
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.lines.iter().filter_map(|line| match line {
            Line::Rule(rule) => Some(rule),
            Line::Comment(_) => None,
        })
    }

    /// A rule that the policy does not have.
    fn leave_out(&mut self, rule: &Rule) {
        self.leaves_out = true;
        self.comment(rule.to_string());
    }

    pub(crate) fn comment(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Comment(text.into()));
    }
}

/// The blocks of a recording, by name.
///
/// # Errors
/// A rule that no policy can have.
pub(crate) fn blocks(
    recording: &Recording<'_>,
    options: &LearnOptions<'_>,
) -> Result<Vec<Block>, PolicyError> {
    let mut blocks = Vec::new();
    for kind in AccessKind::ALL {
        let mut planner =
            Planner { recording, options, kind, interfaces: interfaces(recording, options, kind) };
        for name in recording.knobs.keys() {
            blocks.extend(planner.knob(name)?.map(|block| (name, block)));
        }
    }
    // The reads of a knob and its writes are next to each other.
    blocks.sort_by_key(|(name, _)| *name);
    Ok(blocks.into_iter().map(|(_, block)| block).collect())
}

/// The knobs that several interfaces have, and whose rules can be one: all interfaces had the same values, and nothing else was seen
/// of any interface that the one rule would admit as well.
fn interfaces<'a>(
    recording: &'a Recording<'a>,
    options: &LearnOptions<'_>,
    kind: AccessKind,
) -> BTreeMap<Leaf, Vec<&'a KnobName>> {
    let mut leaves: BTreeMap<Leaf, Vec<&KnobName>> = BTreeMap::new();
    let mut others_seen = BTreeSet::new();
    for (name, knob) in &recording.knobs {
        let Some((leaf, Interface::One)) = Leaf::of(name) else { continue };
        let used = knob.of(kind);
        if !used.failed.is_empty() || !used.doubtful.is_empty() {
            others_seen.insert(leaf.clone());
        }
        if used.allowed.count > 0 {
            leaves.entry(leaf).or_default().push(name);
        }
    }
    leaves.retain(|leaf, names| {
        let learnt =
            |name: &KnobName| condition(&recording.knobs[name].of(kind).allowed, &[name], options.slack).ok();
        let first = learnt(names[0]).map(|first| first.condition);
        let is_the_same = |name: &&KnobName| learnt(name).map(|learnt| learnt.condition) == first;
        names.len() > 1
            && first.is_some()
            && !others_seen.contains(leaf)
            && names[1..].iter().all(is_the_same)
    });
    leaves
}

fn merged(recording: &Recording<'_>, kind: AccessKind, names: &[&KnobName]) -> Group {
    let mut merged = Group::default();
    names.iter().for_each(|name| merged.merge(&recording.knobs[*name].of(kind).allowed));
    merged
}

struct Planner<'a> {
    recording: &'a Recording<'a>,
    options: &'a LearnOptions<'a>,
    kind: AccessKind,
    interfaces: BTreeMap<Leaf, Vec<&'a KnobName>>,
}

impl Planner<'_> {
    /// The block of a knob, or of all knobs that its rule is for; `None` if there is nothing to say, or if another block has it.
    fn knob(&mut self, name: &KnobName) -> Result<Option<Block>, PolicyError> {
        let used = self.recording.knobs[name].of(self.kind);
        let mut block = Block::default();
        let leaf = Leaf::of(name).map(|(leaf, _)| leaf).filter(|leaf| self.interfaces.contains_key(leaf));
        match leaf {
            Some(leaf) if self.interfaces[&leaf].first() == Some(&name) => {
                self.all_interfaces(&leaf, &mut block)?;
            }
            // The first interface has the rule.
            Some(_) => {}
            None if used.allowed.count > 0 => self.one_knob(name, &mut block)?,
            None => {}
        }
        for (doubt, group) in &used.doubtful {
            block.comment(self.provenance(group));
            block.comment(format!("not allowed, because {doubt}"));
            if let (AccessKind::Write, Reach::Escape(why) | Reach::Machine(why)) = (self.kind, reach(name)) {
                block.comment(format!("take care: {why}"));
            }
            let learnt = condition(group, &[name], self.options.slack).unwrap_or_default();
            match self.rule(name, learnt) {
                Ok(rule) => block.leave_out(&rule),
                Err(_) => block.comment(format!("{} {}", self.kind, one_line(name.to_string().as_bytes()))),
            }
        }
        for (errno, group) in &used.failed {
            let errno = errno.and_then(Errno::from_number).map_or("an unknown errno", Errno::name);
            let name = one_line(name.to_string().as_bytes());
            let kind = self.kind;
            block.comment(format!("{}: {kind} {name} failed with {errno}", self.provenance(group)));
        }
        Ok((!block.lines.is_empty()).then_some(block))
    }

    fn one_knob(&self, name: &KnobName, block: &mut Block) -> Result<(), PolicyError> {
        let group = &self.recording.knobs[name].of(self.kind).allowed;
        block.comment(self.provenance(group));
        let (learnt, why) = match condition(group, &[name], self.options.slack) {
            Ok(learnt) => (learnt, None),
            Err(why) => (Allowed::default(), Some(why)),
        };
        learnt.notes.iter().for_each(|note| block.comment(note.as_str()));
        let rule = match self.rule(name, learnt) {
            Ok(rule) => rule,
            Err(error) => {
                let name = one_line(name.to_string().as_bytes());
                block.comment(format!("not allowed, because no rule can name {name}: {error}"));
                return Ok(());
            }
        };
        if let Some(why) = why {
            block.comment(format!("not allowed, because {why}, and so this allows any"));
            block.leave_out(&rule);
            return Ok(());
        }
        if self.kind == AccessKind::Write {
            match reach(name) {
                Reach::Escape(why) => {
                    block.comment(format!("never allowed by learning: {why}"));
                    block.leave_out(&rule);
                    return Ok(());
                }
                Reach::Machine(why) => block.comment(format!("take care: {why}")),
                Reach::Workload => {}
            }
        }
        block.lines.push(Line::Rule(rule));
        block.examples.extend(self.examples(name));
        Ok(())
    }

    /// One rule for the knob of several interfaces.
    fn all_interfaces(&self, leaf: &Leaf, block: &mut Block) -> Result<(), PolicyError> {
        let names = &self.interfaces[leaf];
        let group = merged(self.recording, self.kind, names);
        // `all` and `default` are no interfaces, but the pattern matches them.
        let general = leaf.general_names();
        let mut denied = Vec::new();
        for name in &general {
            let knob = self.recording.knobs.get(name);
            let is_allowed = knob.is_some_and(|knob| knob.of(self.kind).allowed.count > 0);
            if is_allowed {
                self.one_knob(name, block)?;
            }
            // Every read is allowed then, but not every write.
            if !is_allowed || self.kind == AccessKind::Write {
                denied.push(pattern(name)?);
            }
        }
        if !denied.is_empty() {
            block.comment(NO_INTERFACES);
            block.lines.push(Line::Rule(Rule::new(Action::Deny(Errno::EPERM), kinds(self.kind), denied)?));
        }
        block.comment(format!("{}, with {}", self.provenance(&group), listed(names)));
        let all = pattern_of_all_interfaces(leaf)?;
        block.comment(also_admits(leaf, &all, names, self.options.knobs));
        // The condition could be made before.
        if let Ok(learnt) = condition(&group, names, self.options.slack) {
            learnt.notes.iter().for_each(|note| block.comment(note.as_str()));
            block.lines.push(Line::Rule(self.rule_for(all, learnt)?));
        }
        names.iter().for_each(|name| block.examples.extend(self.examples(name)));
        Ok(())
    }

    /// Allows what was learnt of a knob.
    fn rule(&self, name: &KnobName, learnt: Allowed) -> Result<Rule, PolicyError> {
        self.rule_for(pattern(name)?, learnt)
    }

    fn rule_for(&self, pattern: KnobPattern, learnt: Allowed) -> Result<Rule, PolicyError> {
        let rule = Rule::new(Action::Allow, kinds(self.kind), [pattern])?;
        match learnt.condition {
            Some(condition) => rule.with_condition(condition),
            None => Ok(rule),
        }
    }

    /// Accesses that succeeded.
    fn examples(&self, name: &KnobName) -> Vec<Access> {
        let group = &self.recording.knobs[name].of(self.kind).allowed;
        match self.kind {
            AccessKind::Read => vec![Access::read(name.clone())],
            AccessKind::Write => {
                let values = group.values.distinct.iter().take(EXAMPLES_MAX);
                values.map(|value| Access::write(name.clone(), value.clone())).collect()
            }
        }
    }

    fn provenance(&self, group: &Group) -> String {
        provenance(group, self.recording.runs)
    }
}

pub(crate) fn kinds(kind: AccessKind) -> Kinds {
    match kind {
        AccessKind::Read => Kinds::Read,
        AccessKind::Write => Kinds::Write,
    }
}

/// `seen 14×, in 2 of 3 runs, by sysctl`
pub(crate) fn provenance(group: &Group, runs: u32) -> String {
    let mut text = format!("seen {}×", group.count);
    if runs > 1 {
        text += &format!(", in {} of {runs} runs", group.runs.len());
    }
    let comms: Vec<String> = group.comms.iter().map(|comm| one_line(comm)).collect();
    if !comms.is_empty() {
        let others = if group.more_comms { " and others" } else { "" };
        text += &format!(", by {}{others}", comms.join(", "));
    }
    text
}

/// Which knobs of the machine a rule for all interfaces admits, other than `names`.
pub(crate) fn also_admits(leaf: &Leaf, all: &KnobPattern, names: &[&KnobName], knobs: &[KnobName]) -> String {
    let general = leaf.general_names();
    let others: BTreeSet<&KnobName> = knobs.iter().collect();
    let others: Vec<&KnobName> = others
        .into_iter()
        .filter(|name| all.matches(name.as_bytes()) && !names.contains(name) && !general.contains(name))
        .collect();
    match others.len() {
        0 => "admits the other interfaces, too; now there are none".to_owned(),
        _ => format!("also admits {}", listed(&others)),
    }
}

/// The first names, and how many others there are.
fn listed(names: &[&KnobName]) -> String {
    let first: Vec<String> =
        names.iter().take(NAMES_MAX).map(|name| one_line(name.to_string().as_bytes())).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
