//! `knobgate replay`: what recorded accesses would have met under another policy.

mod json_report;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_policy::PolicyFile;
use knobgate_replay::{Outcome, Report};

use crate::failure::{BAD, Failure};
use crate::limited::is_stdin;
use crate::output::Output;
use crate::policy_file::load_policy;
use crate::stream::tally::LABEL;
use crate::{events_file, json};

/// Show what recorded accesses would have met under another policy
///
/// Reads events as `watch --json` writes them, and decides each access again by the policy, as if that were enforced. Accesses
/// to one knob that were decided by the same rule, and would be decided by the same rule, are counted together. Prints what
/// would be newly denied, newly allowed, rewritten differently, or denied with another errno, and what is unknown because it
/// depends on something that the events do not have. What a policy in audit mode reports has passed, so it can be newly denied.
/// Each access is judged by itself, with the value that the knob had then.
/// An access that no event reports is not judged: rules send events of what they allow only with `log`. It needs no kernel and
/// no privileges.
///
/// Privileges: none.
///
/// Exit status: 0 whatever differs, unless --fail-on says otherwise; 1 if --fail-on is met or the policy has errors, 2 if a
/// file cannot be read, a line of it is wrong, or the arguments are.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Replay {
    /// Events as `watch --json` writes them; `-` is standard input
    #[arg(value_name = "EVENTS")]
    events: PathBuf,
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Print one JSON object with everything
    #[arg(long)]
    json: bool,
    /// Exit with status 1 if there is such an access, or may be; can be repeated
    #[arg(long, value_name = "OUTCOME")]
    fail_on: Vec<FailOn>,
}

const EXAMPLES: &str = "Examples:
  knobgate replay events.jsonl --policy new.knob
  knobgate replay events.jsonl --policy new.knob --fail-on newly-denied
  knobgate watch --from events.jsonl --json --filter 'attachment == \"web\"' | knobgate replay - --policy new.knob";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Something would be denied that succeeded
    NewlyDenied,
    /// Something would succeed that was denied, or pass that was rewritten
    NewlyAllowed,
    /// Anything would be different
    Any,
}

impl FailOn {
    fn is_met_by(self, report: &Report) -> bool {
        match self {
            Self::NewlyDenied => report.may_be(Outcome::NewlyDenied),
            Self::NewlyAllowed => report.may_be(Outcome::NewlyAllowed),
            Self::Any => {
                Outcome::ALL.iter().any(|&outcome| outcome != Outcome::Same && report.events(outcome) > 0)
            }
        }
    }
}

/// The events that were replayed, and the policy.
struct Replayed {
    policy: PolicyFile,
    report: Report,
}

impl Replay {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if is_stdin(&self.events) && is_stdin(&self.policy) {
            return Err(Failure::usage("EVENTS and the policy cannot both be standard input"));
        }
        let policy = load_policy(&self.policy, output)?;
        let mut replay = knobgate_replay::Replay::new(policy.policy(), LABEL);
        events_file::for_each(&self.events, output, |item| replay.add(item))?;
        let report = replay.finish();
        let replayed = Replayed { report, policy };
        if self.json {
            output.line(json::line(&json_report::of(&replayed)))?;
        } else {
            text::print(&replayed, output)?;
        }
        let is_met = |fail_on: &FailOn| fail_on.is_met_by(&replayed.report);
        Ok(ExitCode::from(if self.fail_on.iter().any(is_met) { BAD } else { 0 }))
    }
}

/// An outcome, in words.
fn heading(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NewlyDenied => "newly denied",
        Outcome::NewlyAllowed => "newly allowed",
        Outcome::RewrittenDifferently => "rewritten differently",
        Outcome::Errno => "denied with another errno",
        Outcome::Unknown => "unknown",
        Outcome::Same => "the same",
    }
}
