//! A recording as a policy with its text.

use knobgate_policy::terminal::escape_lines;
use knobgate_policy::{
    AccessKind, CheckOptions, Defaults, Errno, Fallback, FallbackAction, KnobName, Mode, ParseError, Policy,
    PolicyError, PolicyFile, Source, parse,
};

use crate::comment::one_line;
use crate::plan::{Block, Line, blocks};
use crate::recording::Recording;
use crate::test_block;

/// What is learnt, and how.
#[derive(Debug, Clone, Copy)]
pub struct LearnOptions<'a> {
    /// The name of a new policy.
    pub name: &'a str,
    /// What was observed, for the first comment of a new policy.
    pub title: &'a str,
    /// Whether reads are learnt too, so that the policy denies all others.
    pub reads: bool,
    /// How much more than the numbers that were seen a rule admits, in per cent.
    pub slack: u32,
    /// The knobs of this machine, for what a generalised rule also admits.
    pub knobs: &'a [KnobName],
}

/// A policy that was learnt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Learnt {
    /// The policy with its text.
    pub file: PolicyFile,
    /// How many rules were added.
    pub rules: usize,
    /// What the policy does not say, and why.
    pub notes: Vec<String>,
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// The name of the policy is none.
    #[error("`{name}` cannot be the name of a policy")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        source: PolicyError,
    },
    /// No policy can have one of the rules.
    #[error("cannot make a rule")]
    Rule(#[from] PolicyError),
    /// The policy is not valid: it is too large.
    #[error("what was seen does not fit into one policy")]
    Policy(#[from] ParseError),
}

/// The policy that allows what succeeded, as exactly as rules can say it, and no other write. It is in audit mode.
///
/// Its text says in comments how often and by whom each access was seen, and has a test block.
///
/// If the recording [extends](Recording::extending) a policy, the result is that policy with rules for what it does not allow. They
/// come after the last one, and a new test at the end; the rest of its text stays as it is, apart from its layout. What its tests
/// expected of what is allowed now is changed, and a note says so. Where a rule of it decides against an access, that stays so, and a
/// comment says it.
///
/// # Errors
/// A name that no policy can have; more than one policy can hold.
pub fn learn(recording: &Recording<'_>, options: &LearnOptions<'_>) -> Result<Learnt, LearnError> {
    if let Some(extended) = &recording.extended {
        return extended.with(recording, options);
    }
    let name = options.name;
    let policy = Policy::new(name).map_err(|source| LearnError::Name { name: name.to_owned(), source })?;
    let blocks = blocks(recording, options)?;
    let deny = Fallback { action: FallbackAction::Deny(Errno::EPERM), log: None };
    let allow = Fallback { action: FallbackAction::Allow, log: None };
    let defaults = Defaults { read: if options.reads { deny } else { allow }, write: deny };
    let policy = policy
        .with_mode(Mode::Audit)
        .with_defaults(defaults)
        .with_rules(blocks.iter().flat_map(Block::rules).cloned());
    let examples: Vec<_> = blocks.iter().flat_map(|block| block.examples.clone()).collect();
    let policy = match test_block::of("what was seen, and nothing else".to_owned(), &examples, &[], &policy) {
        Some(test) => policy.with_tests([test]),
        None => policy,
    };
    let file = parsed(&format!("{name}.knob"), &text(&policy, &blocks, options))?;
    debug_assert_eq!(*file.policy(), policy, "its text means the same");
    Ok(Learnt { file, rules: policy.rules().len(), notes: notes(recording, &blocks) })
}

/// A text, laid out and parsed.
pub(crate) fn parsed(name: &str, text: &str) -> Result<PolicyFile, ParseError> {
    let formatted = knobgate_policy::format(&Source::new(name, text))?;
    parse(Source::new(name, formatted), &CheckOptions::default())
}

fn text(policy: &Policy, blocks: &[Block], options: &LearnOptions<'_>) -> String {
    let mut text = format!("# Allows what was seen of {}.\n", one_line(options.title.as_bytes()));
    text += "# In audit mode it denies nothing: read it, and remove `mode audit` to enforce it.\n";
    text += &format!("policy {}\nmode {}\n\n", policy.name(), policy.mode());
    for kind in AccessKind::ALL {
        text += &format!("default {kind} {}\n", policy.defaults().of(kind));
    }
    text += &text_of(blocks);
    for test in policy.tests() {
        text += &format!("\n{}\n", escape_lines(&test.to_string()));
    }
    text
}

/// The text of blocks, each after an empty line.
pub(crate) fn text_of(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        text.push('\n');
        for line in &block.lines {
            match line {
                Line::Comment(comment) => text += &format!("# {}\n", one_line(comment.as_bytes())),
                Line::Rule(rule) => text += &format!("{}\n", one_line(rule.to_string().as_bytes())),
            }
        }
    }
    text
}

/// What the policy does not say, and why.
pub(crate) fn notes(recording: &Recording<'_>, blocks: &[Block]) -> Vec<String> {
    let mut notes = Vec::new();
    if recording.knobs.is_empty() && recording.unnamed == 0 && !recording.some_allowed {
        notes.push("nothing was seen".to_owned());
    }
    if recording.unnamed > 0 {
        let count = recording.unnamed;
        notes.push(format!(
            "the names of knobs were too long to record, {count}×; no rule allows these accesses"
        ));
    }
    let doubtful = blocks.iter().filter(|block| block.leaves_out).count();
    if doubtful > 0 {
        let knobs = if doubtful == 1 { "knob" } else { "knobs" };
        notes.push(format!(
            "some accesses of {doubtful} {knobs} are not allowed: the policy has rules for them as comments, with the reasons"
        ));
    }
    notes
}
