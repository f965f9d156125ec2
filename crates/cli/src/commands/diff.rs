//! `knobgate diff`: what two policies decide differently.

mod describe;
mod events;
mod findings;
mod markdown;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_diff::{Change, Class, DiffDocument, SelectorChanges, VerdictKind};
use knobgate_policy::selector::Selector;
use knobgate_policy::{Decision, Mode, PolicyFile};

use events::Events;

use crate::decider::{Decider, decider};
use crate::failure::{BAD, Failure};
use crate::limited::is_stdin;
use crate::output::Output;
use crate::policy_file::load_policy;
use crate::{json, sarif};

/// Show what two policies decide differently
///
/// Prints the classes of accesses on which they differ, the most dangerous first: what the new policy newly allows, what is
/// undecided, what it rewrites differently, newly denies, or denies with another errno, and what only one of them logs. Each
/// class has both verdicts, the rules that decide, and an example. Names are compared exactly, and so are conditions on single
/// numbers and texts. Where the comparison would not be exact, a class is undecided. Also prints the `apply if` statements that
/// only one of them has. It needs no kernel and no privileges.
///
/// Privileges: none.
///
/// Exit status: 0 whatever differs, unless --fail-on says otherwise; 1 if --fail-on is met or a policy has errors, 2 if a
/// file cannot be read, a line of the events is wrong, or the arguments are.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Diff {
    /// The old policy; `-` is standard input
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new policy; `-` is standard input
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The format of the differences
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Exit with status 1 if there is such a difference; can be repeated
    #[arg(long, value_name = "CHANGE")]
    fail_on: Vec<FailOn>,
    /// Count in each class the events of a file that `watch --json` has written; `-` is standard input
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  knobgate diff old.knob new.knob
  git show main:web.knob | knobgate diff - web.knob --fail-on newly-allowed
  knobgate diff old.knob new.knob --format markdown >comment.md
  knobgate diff old.knob new.knob --events events.jsonl";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text, grouped by change
    Text,
    /// One JSON object with everything
    Json,
    /// Tables for a comment on a pull request
    Markdown,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Something is newly allowed, or undecided; or an `apply if` is gone
    NewlyAllowed,
    /// Something is newly denied; or an `apply if` is new
    NewlyDenied,
    /// Anything differs, also to what the policies apply
    Any,
}

impl FailOn {
    fn is_met_by(self, change: Change) -> bool {
        match self {
            Self::NewlyAllowed => matches!(change, Change::NewlyAllowed | Change::Undecided),
            Self::NewlyDenied => change == Change::NewlyDenied,
            Self::Any => true,
        }
    }

    /// What applies to fewer containers denies less there, and what applies to more denies more.
    fn is_met_by_selectors(self, changes: &SelectorChanges) -> bool {
        match self {
            Self::NewlyAllowed => !changes.removed.is_empty(),
            Self::NewlyDenied => !changes.added.is_empty(),
            Self::Any => !changes.is_empty(),
        }
    }
}

/// Two policies and what they decide differently.
struct Compared {
    old: PolicyFile,
    new: PolicyFile,
    diff: knobgate_diff::Diff,
    events: Option<Events>,
}

/// What one policy decides about a class.
struct Side<'a> {
    file: &'a PolicyFile,
    verdict: String,
    decider: Decider,
}

impl Diff {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if is_stdin(&self.old) && is_stdin(&self.new) {
            return Err(Failure::usage("OLD and NEW cannot both be standard input"));
        }
        if self.events.as_deref().is_some_and(is_stdin) && (is_stdin(&self.old) || is_stdin(&self.new)) {
            return Err(Failure::usage("a policy and the events cannot both be standard input"));
        }
        // Both are read before either's errors end the command.
        let (old, new) = (load_policy(&self.old, output), load_policy(&self.new, output));
        let (old, new) = (old?, new?);
        let diff = knobgate_diff::Diff::between(old.policy(), new.policy()).map_err(|error| {
            let (old, new) = (old.source().name(), new.source().name());
            Failure::bad(format!("cannot compare {old} with {new}")).because(error)
        })?;
        let events = self.events.as_deref();
        let events = events.map(|path| events::read(path, &diff, [&old, &new], output)).transpose()?;
        let compared = Compared { old, new, diff, events };
        match self.format {
            Format::Text => text::print(&compared, output)?,
            Format::Json => {
                let document = DiffDocument::new(&compared.diff, &compared.old, &compared.new);
                let document = match &compared.events {
                    Some(events) => events.add_to(document),
                    None => document,
                };
                output.line(json::line(&document))?;
            }
            Format::Markdown => output.line(markdown::document(&compared))?,
            Format::Sarif => {
                output.line(sarif::log(&findings::RULES, &findings::of(&compared), &[]))?;
            }
        }
        let is_met = self.fail_on.iter().any(|fail_on| {
            compared.diff.classes().iter().any(|class| fail_on.is_met_by(class.change))
                || fail_on.is_met_by_selectors(compared.diff.selectors())
        });
        Ok(ExitCode::from(if is_met { BAD } else { 0 }))
    }
}

impl Compared {
    /// The two policies, each with what is decided about the first names of `class`, as a phrase.
    fn sides<'a>(&'a self, class: &'a Class) -> [Side<'a>; 2] {
        let first = &class.names[0];
        let is_different = self.diff.modes().0 != self.diff.modes().1;
        let side = |file: &'a PolicyFile, decision: &'a Decision, kind| {
            let mut verdict = describe::verdict(kind, decision);
            let is_enforced = file.policy().mode() == Mode::Enforce;
            if is_different && !is_enforced && kind != VerdictKind::Allow {
                verdict += ", not enforced";
            }
            if class.change == Change::Logging {
                verdict += if decision.log { ", logged" } else { ", not logged" };
            }
            Side { file, verdict, decider: decider(decision.by, file) }
        };
        [side(&self.old, &first.old, class.old), side(&self.new, &first.new, class.new)]
    }

    /// The `apply if` statements that only one of the policies has, each with `-` or `+`.
    fn selectors(&self) -> impl Iterator<Item = (char, String)> {
        let changes = self.diff.selectors();
        let signed = |sign| move |selector: &Selector| (sign, format!("apply if {selector}"));
        changes.removed.iter().map(signed('-')).chain(changes.added.iter().map(signed('+')))
    }

    /// What the modes of the policies mean for the comparison, if that is not obvious.
    fn note_on_modes(&self) -> Option<&'static str> {
        match self.diff.modes() {
            (Mode::Enforce, Mode::Enforce) => None,
            (Mode::Audit, Mode::Audit) => Some("both policies are in audit mode, which enforces nothing"),
            (Mode::Enforce, Mode::Audit) => Some(
                "the new policy is in audit mode: everything that it denies or rewrites passes unchanged",
            ),
            (Mode::Audit, Mode::Enforce) => Some(
                "the old policy is in audit mode: everything that it denies or rewrites passes unchanged",
            ),
        }
    }
}
