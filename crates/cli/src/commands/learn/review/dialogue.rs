//! The questions of a review.

use std::collections::BTreeSet;

use knobgate_learn::{DeniedClass, Proposal, Question, Review};

use super::answers::Answers;
use super::difference;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::printable::printable;
use crate::stream::{length_of_stdout, tally, words};
use crate::style::{ALLOW, DENY, DIM, HEADING, WARNING};

/// How many values are shown.
const VALUES_MAX: usize = 8;

/// What becomes of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Unchanged,
    Write,
}

/// A review with its answers.
pub(super) struct Dialogue<'d, 'a> {
    /// The file of the policy.
    name: &'d str,
    review: &'d mut Review<'a>,
    answers: Answers<'d>,
    output: &'d Output,
}

/// An answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allow,
    Deny,
    Generalise,
    Ignore,
    Undo,
    Quit,
}

const ANSWERS: [(&str, Answer); 6] = [
    ("allow", Answer::Allow),
    ("deny", Answer::Deny),
    ("generalise", Answer::Generalise),
    ("ignore", Answer::Ignore),
    ("undo", Answer::Undo),
    ("quit", Answer::Quit),
];

const HELP: &str = "  a, allow       add the rule that allows exactly what was seen
  d, deny        add the rule that denies it, so that it is not asked again
  g, generalise  choose a rule that allows more
  i, ignore      leave it for the next review
  u, undo        take the last decision back
  q, quit        end here, and keep what was decided
The policy is not written before you have seen the difference and said yes.";

/// What an answer does to the dialogue.
enum Next {
    /// Another answer to the same question.
    Answer,
    /// The next question.
    Question,
    /// No more questions.
    End,
}

impl<'d, 'a> Dialogue<'d, 'a> {
    pub(super) fn new(
        name: &'d str,
        review: &'d mut Review<'a>,
        answers: Answers<'d>,
        output: &'d Output,
    ) -> Self {
        Self { name, review, answers, output }
    }

    /// Asks until everything is decided.
    ///
    /// # Errors
    /// [`Failure::Bad`] if the answers end too early, or the policy cannot hold more rules. The review has what was decided until then.
    pub(super) fn run(mut self) -> Result<Outcome, Failure> {
        let old = self.review.file().clone();
        loop {
            while let Some(question) = self.review.question() {
                show(&question, self.review.classes(), self.output)?;
                let next = loop {
                    match self.answer()? {
                        Next::Answer => {}
                        next => break next,
                    }
                };
                if let Next::End = next {
                    break;
                }
            }
            if self.review.rules() == 0 {
                return Ok(Outcome::Unchanged);
            }
            for line in difference(self.review, &old) {
                self.output.line(line)?;
            }
            let question = format!("write {}? [y]es, [n]o, [u]ndo:", printable(self.name));
            loop {
                match self.ask(&question)?.as_str() {
                    "y" | "yes" => return Ok(Outcome::Write),
                    "n" | "no" => return Ok(Outcome::Unchanged),
                    "u" | "undo" => {
                        self.undo()?;
                        break;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Asks for one answer.
    fn answer(&mut self) -> Result<Next, Failure> {
        const QUESTION: &str = "[a]llow, [d]eny, [g]eneralise, [i]gnore, [u]ndo, [q]uit, [?]:";
        let given = self.ask(QUESTION)?;
        let Some(question) = self.review.question() else { return Ok(Next::End) };
        let is = |word: &str| !given.is_empty() && (given == word || given == word[..1]);
        let Some((_, answer)) = ANSWERS.iter().find(|(word, _)| is(word)) else {
            self.output.line(HELP)?;
            return Ok(Next::Answer);
        };
        let chosen = match answer {
            Answer::Allow => question.allow,
            Answer::Deny => question.deny,
            Answer::Generalise => {
                let proposals = question.generalised;
                return self.generalise(proposals);
            }
            Answer::Ignore => return self.decide(None).map(|()| Next::Question),
            Answer::Undo => return self.undo(),
            Answer::Quit => return Ok(Next::End),
        };
        match chosen {
            Ok(proposal) => self.decide(Some(proposal)).map(|()| Next::Question),
            Err(why) => {
                self.output.line(format_args!("  {WARNING}not possible{WARNING:#}: {}", printable(&why)))?;
                Ok(Next::Answer)
            }
        }
    }

    /// Asks which of the proposals is meant.
    fn generalise(&mut self, mut proposals: Vec<Proposal>) -> Result<Next, Failure> {
        if proposals.is_empty() {
            self.output.line("  there is no rule to offer that allows more")?;
            return Ok(Next::Answer);
        }
        for (index, proposal) in proposals.iter().enumerate() {
            print_rules(&format!("  {:<2} ", index + 1), ALLOW, proposal, self.output)?;
        }
        let question = match proposals.len() {
            1 => "1, [b]ack:".to_owned(),
            several => format!("1 to {several}, [b]ack:"),
        };
        loop {
            let answer = self.ask(&question)?;
            match answer.parse::<usize>() {
                Ok(number) if (1..=proposals.len()).contains(&number) => {
                    let chosen = proposals.swap_remove(number - 1);
                    return self.decide(Some(chosen)).map(|()| Next::Question);
                }
                _ if matches!(answer.as_str(), "b" | "back") => return Ok(Next::Answer),
                _ => {}
            }
        }
    }

    fn decide(&mut self, chosen: Option<Proposal>) -> Result<(), Failure> {
        let before: BTreeSet<usize> = self.review.changed_steps().iter().copied().collect();
        self.review
            .decide(chosen)
            .map_err(|error| Failure::bad(format!("cannot add a rule to {}", self.name)).because(error))?;
        let changed = self.review.changed_steps().iter().filter(|line| !before.contains(line));
        for line in changed {
            self.output.note(format_args!("a test expected otherwise, and is changed: {}:{line}", self.name));
        }
        Ok(())
    }

    fn undo(&mut self) -> Result<Next, Failure> {
        let undone = self.review.undo().map_err(|error| {
            Failure::bad(format!("cannot undo a decision on {}", self.name)).because(error)
        })?;
        if undone {
            return Ok(Next::Question);
        }
        self.output.line("  there is nothing to undo")?;
        Ok(Next::Answer)
    }

    /// # Errors
    /// [`Failure::Bad`] at the end of the input.
    fn ask(&mut self, question: &str) -> Result<String, Failure> {
        self.answers.ask(question, self.output)?.ok_or_else(|| {
            Failure::bad(format!("{} is unchanged: standard input ended before the review did", self.name)).because(
                "run it on a terminal; or write one answer a line: a, d, g and a number, i, u or q, and y to write the policy",
            )
        })
    }
}

/// Prints a question.
fn show(question: &Question<'_>, classes: usize, output: &Output) -> Result<(), Failure> {
    let class = question.class;
    let knob = class.knob().to_string();
    output.line(format_args!(
        "\n{HEADING}{} of {classes}: {} {}{HEADING:#}",
        question.number,
        words::access(class.kind()),
        printable(&knob)
    ))?;
    let row = |name: &str, text: &str| output.line(format_args!("  {name:<7} {text}"));
    row("seen", &tally::when(class.tally()))?;
    if let Some(workloads) = tally::workloads(class.tally()) {
        row("in", &workloads)?;
    }
    let tasks = tasks(class);
    if !tasks.is_empty() {
        row("by", &tasks)?;
    }
    if !question.values.is_empty() {
        row("values", &values(question))?;
    }
    for (why, count) in &question.doubts {
        row("note", &format!("{count}×: {}", printable(why)))?;
    }
    for (name, style, proposal) in [("allow", ALLOW, &question.allow), ("deny", DENY, &question.deny)] {
        match proposal {
            Ok(proposal) => print_rules(&format!("  {name:<7} "), style, proposal, output)?,
            Err(why) => row(name, &format!("{WARNING}no{WARNING:#}: {}", printable(why)))?,
        }
    }
    Ok(())
}

/// Prints the rules of a proposal, and what there is to know about them.
fn print_rules(
    start: &str,
    style: anstyle::Style,
    proposal: &Proposal,
    output: &Output,
) -> Result<(), Failure> {
    let indent = start.chars().count();
    for (index, rule) in proposal.rules().iter().enumerate() {
        let start = if index == 0 { start } else { "" };
        output.line(format_args!("{start:indent$}{style}{}{style:#}", printable(rule)))?;
    }
    for note in proposal.notes() {
        output.line(format_args!("{:indent$}{DIM}# {}{DIM:#}", "", printable(note)))?;
    }
    Ok(())
}

/// `sh, sysctl and others`
fn tasks(class: &DeniedClass) -> String {
    let (tasks, more) = class.tasks();
    let names: Vec<_> = tasks.into_iter().map(words::name).collect();
    let others = if more { " and others" } else { "" };
    names.join(", ") + others
}

fn values(question: &Question<'_>) -> String {
    let shown = question.values.iter().take(VALUES_MAX);
    let mut values: Vec<String> = shown.map(|value| words::quoted(value, length_of_stdout())).collect();
    let more = question.values.len().saturating_sub(VALUES_MAX);
    if question.has_more_values {
        values.push("and many more".to_owned());
    } else if more > 0 {
        values.push(format!("and {}", count(more, "more value")));
    }
    values.join(", ")
}
