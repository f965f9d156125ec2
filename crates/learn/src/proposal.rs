//! The rules that a review offers for a class of accesses.

use std::collections::BTreeSet;

use knobgate_policy::{
    Access, AccessKind, Action, Errno, Integer, KnobName, PolicyError, Rule, parse_numbers,
};

use crate::comment::one_line;
use crate::condition::{Allowed, condition, unseen};
use crate::denied::DeniedClass;
use crate::host_knobs::{Reach, reach};
use crate::interfaces::{Interface, Leaf, pattern, pattern_of_all_interfaces};
use crate::plan::{Block, EXAMPLES_MAX, Line, NO_INTERFACES, also_admits, kinds, provenance};
use crate::recorded::Doubt;
use crate::recording::{Group, Values};

/// Rules for a class of accesses, with what there is to know about them.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub(crate) block: Block,
}

impl Proposal {
    /// The rules, as the policy has them.
    pub fn rules(&self) -> Vec<String> {
        self.block.rules().map(|rule| one_line(rule.to_string().as_bytes())).collect()
    }

    /// What there is to know: what else they admit, and what the knob reaches.
    pub fn notes(&self) -> Vec<&str> {
        let comments = self.block.lines.iter().filter_map(|line| match line {
            Line::Comment(comment) => Some(comment.as_str()),
            Line::Rule(_) => None,
        });
        // The first one says who was seen.
        comments.skip(1).collect()
    }
}

/// Makes the proposals for a class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proposer<'a> {
    pub(crate) class: &'a DeniedClass,
    /// The accesses that are not decided yet.
    pub(crate) group: &'a Group,
    /// How much more than the numbers that were seen a range admits, in per cent.
    pub(crate) slack: u32,
    /// The knobs of this machine.
    pub(crate) knobs: &'a [KnobName],
    /// What the default denies with.
    pub(crate) errno: Errno,
}

/// A value for a test of a rule that looks at none, if none was recorded.
const ANY_VALUE: &[u8] = b"x\n";

impl Proposer<'_> {
    /// Allows exactly what was seen.
    ///
    /// # Errors
    /// Why no rule can, or should.
    pub(crate) fn allow(&self) -> Result<Proposal, String> {
        let learnt = self.exact()?;
        let mut block = self.block("reviewed");
        learnt.notes.iter().for_each(|note| block.comment(note.as_str()));
        let rule = self.rule(Action::Allow, learnt).map_err(|error| error.to_string())?;
        if let Some(why) = self.escape() {
            let rule = one_line(rule.to_string().as_bytes());
            return Err(format!(
                "never allowed by learning: {why}; to allow it all the same, write it yourself: {rule}"
            ));
        }
        block.lines.push(Line::Rule(rule));
        block.examples = self.examples();
        Ok(Proposal { block })
    }

    /// Denies what was seen, as the default does. If no rule can tell it from other values, denies any.
    ///
    /// # Errors
    /// Why no rule can.
    pub(crate) fn deny(&self) -> Result<Proposal, String> {
        self.can_be_named()?;
        let mut block = self.block("reviewed and denied");
        let learnt = self.exact().unwrap_or_else(|why| {
            block.comment(format!("{why}, and so this denies any"));
            Allowed::default()
        });
        if !learnt.notes.is_empty() {
            block.comment("also denies numbers that were not seen");
        }
        let rule = self.rule(Action::Deny(self.errno), learnt).map_err(|error| error.to_string())?;
        block.lines.push(Line::Rule(rule));
        block.denied = self.examples();
        Ok(Proposal { block })
    }

    /// Allows more than what was seen: the knob of all interfaces, more numbers, any value.
    pub(crate) fn generalised(&self) -> Vec<Proposal> {
        if self.escape().is_some() || self.can_be_named().is_err() {
            return Vec::new();
        }
        let mut proposals = Vec::new();
        proposals.extend(self.all_interfaces());
        if self.class.kind == AccessKind::Write {
            for learnt in self.ranges() {
                proposals.extend(self.allow_more(learnt));
            }
            let notes = vec!["admits every value".to_owned()];
            proposals.extend(self.allow_more(Allowed { condition: None, notes }));
        }
        proposals
    }

    fn allow_more(&self, learnt: Allowed) -> Option<Proposal> {
        let mut block = self.block("reviewed");
        learnt.notes.iter().for_each(|note| block.comment(note.as_str()));
        block.lines.push(Line::Rule(self.rule(Action::Allow, learnt).ok()?));
        block.examples = self.examples();
        Some(Proposal { block })
    }

    /// The knob of every interface, with the values that this one was given.
    fn all_interfaces(&self) -> Option<Proposal> {
        let (leaf, Interface::One) = Leaf::of(&self.class.knob)? else { return None };
        let (all, learnt) = (pattern_of_all_interfaces(&leaf).ok()?, self.exact().ok()?);
        let mut block = self.block("reviewed");
        block.comment(also_admits(&leaf, &all, &[&self.class.knob], self.knobs));
        learnt.notes.iter().for_each(|note| block.comment(note.as_str()));
        let general: Vec<_> = leaf.general_names().iter().filter_map(|name| pattern(name).ok()).collect();
        block.comment(NO_INTERFACES);
        let kinds = kinds(self.class.kind);
        block.lines.push(Line::Rule(Rule::new(Action::Deny(self.errno), kinds, general).ok()?));
        let rule = Rule::new(Action::Allow, kinds, [all]).ok()?;
        let rule = match learnt.condition {
            Some(condition) => rule.with_condition(condition).ok()?,
            None => rule,
        };
        block.lines.push(Line::Rule(rule));
        block.examples = self.examples();
        Some(Proposal { block })
    }

    /// Conditions that admit more numbers than those that were seen, the narrowest first.
    fn ranges(&self) -> Vec<Allowed> {
        let names = [&self.class.knob];
        let Some(lists) = numbers(&self.group.values) else { return Vec::new() };
        let mut found: Vec<Allowed> = condition(self.group, &names, 0).into_iter().collect();
        let exact = found.len();
        if self.slack > 0 {
            found.extend(condition(self.group, &names, self.slack));
        }
        let single: Option<BTreeSet<Integer>> = lists
            .iter()
            .map(|list| match list[..] {
                [number] => Some(number),
                _ => None,
            })
            .collect();
        let extents = extents(&lists);
        let from_zero = |&(low, high): &(Integer, Integer)| {
            let zero = Integer::new(0).unwrap_or(low);
            (low.min(zero), high)
        };
        let down_to_zero = extents.iter().map(|(count, of)| (*count, of.iter().map(from_zero).collect()));
        for extents in [extents.clone(), down_to_zero.collect()] {
            let note = match (&single, extents.get(&1).map(Vec::as_slice)) {
                (Some(seen), Some(&[(low, high)])) => format!("also admits {}", unseen(seen, low, high)),
                _ => "also admits other numbers in these ranges".to_owned(),
            };
            let values = Values { extents, ..Values::default() };
            if let Ok(range) = condition(&Group { values, ..Group::default() }, &names, 0) {
                found.push(Allowed { notes: vec![note], ..range });
            }
        }
        let mut ranges: Vec<Allowed> = Vec::new();
        for (index, learnt) in found.iter().enumerate() {
            let is_new = found[..index].iter().all(|known| known.condition != learnt.condition);
            ranges.extend((index >= exact && is_new).then(|| learnt.clone()));
        }
        ranges
    }

    /// The condition for exactly what was seen.
    ///
    /// # Errors
    /// Why there is none.
    fn exact(&self) -> Result<Allowed, String> {
        self.can_be_named()?;
        if self.class.kind == AccessKind::Write && self.group.values.is_empty() {
            let why = self.class.doubts().next().map(|(doubt, _)| doubt.reason());
            return Err(why.unwrap_or_else(|| "it wrote no bytes".to_owned()));
        }
        condition(self.group, &[&self.class.knob], 0).map_err(|why| why.to_string())
    }

    /// # Errors
    /// Why rules cannot be about this knob.
    fn can_be_named(&self) -> Result<(), String> {
        let doubt = self.class.doubts().map(|(doubt, _)| doubt);
        match doubt.into_iter().find(|doubt| matches!(doubt, Doubt::NotASysctl | Doubt::NameTooLong)) {
            Some(doubt) => Err(doubt.reason()),
            None => match pattern(&self.class.knob) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("no rule can name this knob: {error}")),
            },
        }
    }

    fn rule(&self, action: Action, learnt: Allowed) -> Result<Rule, PolicyError> {
        let rule = Rule::new(action, kinds(self.class.kind), [pattern(&self.class.knob)?])?;
        match learnt.condition {
            Some(condition) => rule.with_condition(condition),
            None => Ok(rule),
        }
    }

    /// Why it is a way out of a container, if it is one.
    fn escape(&self) -> Option<&'static str> {
        match (self.class.kind, reach(&self.class.knob)) {
            (AccessKind::Write, Reach::Escape(why)) => Some(why),
            _ => None,
        }
    }

    /// Begins with who was seen, and with what the knob reaches.
    fn block(&self, what: &str) -> Block {
        let mut block = Block::default();
        let mut seen = self.group.clone();
        self.class.used.doubtful.values().for_each(|group| seen.merge(group));
        block.comment(format!("{what}: {}", provenance(&seen, 1)));
        if let (AccessKind::Write, Reach::Machine(why)) = (self.class.kind, reach(&self.class.knob)) {
            block.comment(format!("take care: {why}"));
        }
        block
    }

    /// Accesses for a test.
    fn examples(&self) -> Vec<Access> {
        let knob = &self.class.knob;
        if self.class.kind == AccessKind::Read {
            return vec![Access::read(knob.clone())];
        }
        let values = self.group.values.distinct.iter().map(Vec::as_slice).take(EXAMPLES_MAX);
        let mut values: Vec<&[u8]> = values.collect();
        if values.is_empty() {
            values.push(ANY_VALUE);
        }
        values.into_iter().map(|value| Access::write(knob.clone(), value)).collect()
    }
}

/// The distinct values as lists, if all of them are lists of numbers, and all were kept.
fn numbers(values: &Values) -> Option<Vec<Vec<Integer>>> {
    let list = |value: &Vec<u8>| parse_numbers(value).ok().filter(|numbers| !numbers.is_empty());
    let is_whole = values.extents.is_empty() && !values.more_texts && !values.distinct.is_empty();
    if is_whole { values.distinct.iter().map(list).collect() } else { None }
}

/// By how many numbers a list has, the least and the greatest number of each place.
fn extents(lists: &[Vec<Integer>]) -> std::collections::BTreeMap<usize, Vec<(Integer, Integer)>> {
    let mut values = Values::default();
    for list in lists {
        values.extend(&list.iter().map(|&number| (number, number)).collect::<Vec<_>>());
    }
    values.extents
}
