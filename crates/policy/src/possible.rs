//! The decisions that are possible about an access of which something is unknown.
//!
//! This follows [`evaluate`](crate::evaluate()), with sets of results instead of results. Conditions are taken to be independent
//! of each other, so a set may have a decision too many, but never one too few.

use crate::evaluate::{act, has_operand};
use crate::{
    Access, Action, Applies, Condition, DecidedBy, Errno, EvalError, FallbackAction, Operand, Policy,
    TextOperand, Value, Verdict, applies, holds,
};

/// Something about an access that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Input {
    /// The new value of a write, and whether there is one.
    New,
    /// The current value, and whether there is one.
    Old,
    /// The user id.
    Uid,
    /// The group id.
    Gid,
    /// The name of the task.
    Comm,
    /// The network namespace that owns the knob.
    Netns,
}

/// A set of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Inputs(u8);

/// The decisions that are possible.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Possible {
    /// The decisions, at least one, in the order of the rules.
    pub decisions: Vec<PossibleDecision>,
    /// The unknown inputs that the rules look at until one decides.
    pub looks_at: Inputs,
}

/// A decision that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PossibleDecision {
    /// The verdict. `None` for a rule that rewrites and looks at something unknown: it writes another value, or lets the access
    /// pass, or cannot be evaluated.
    pub verdict: Option<Verdict>,
    /// What decides.
    pub by: DecidedBy,
}

/// The decisions that are possible about `access` if the inputs in `unknown` can be anything, whatever `access` has there.
///
/// ```
/// use knobgate_policy::{Access, CheckOptions, Input, KnobName, Source, Verdict, parse, possible};
///
/// let text = "policy web\nallow write vm.swappiness if new <= 60 and uid == 0\n";
/// let policy = parse(Source::new("web.knob", text), &CheckOptions::default())?.into_policy();
/// let write = |value: &str| Access::write(KnobName::parse("vm.swappiness").unwrap(), value);
///
/// // It depends on the user.
/// assert_eq!(possible(&policy, &write("10"), Input::Uid.into()).verdict(), None);
/// // No user may write this.
/// assert!(matches!(possible(&policy, &write("90"), Input::Uid.into()).verdict(), Some(Verdict::Deny(_))));
/// # Ok::<(), knobgate_policy::ParseError>(())
/// ```
pub fn possible(policy: &Policy, access: &Access, unknown: Inputs) -> Possible {
    let mut of = Unknown { policy, access, unknown, looks_at: Inputs::default() };
    let mut decisions = Vec::new();
    let deny = |rule: usize, error: EvalError| PossibleDecision {
        verdict: Some(Verdict::Deny(Errno::EINVAL)),
        by: DecidedBy::EvalError { rule, error },
    };
    for (index, rule) in policy.rules().iter().enumerate() {
        match applies(policy, rule, access) {
            Ok(Applies::OtherKind | Applies::OtherKnob) => continue,
            Err(error @ EvalError::NameTooLong) => {
                decisions.push(deny(index, error));
                return Possible { decisions, looks_at: of.looks_at };
            }
            // What its condition says may depend on what is unknown.
            Ok(Applies::Yes | Applies::ConditionFalse) | Err(_) => {}
        }
        let results = rule.condition().map_or(Results::only(Ok(true)), |condition| of.results(condition));
        decisions.extend(results.error.map(|error| deny(index, error)));
        if results.holds {
            decisions.push(match of.act(rule.action()) {
                Some(Err(error)) => deny(index, error),
                verdict => {
                    PossibleDecision { verdict: verdict.and_then(Result::ok), by: DecidedBy::Rule(index) }
                }
            });
        }
        if !results.fails {
            return Possible { decisions, looks_at: of.looks_at };
        }
    }
    let kind = access.kind();
    let verdict = match policy.defaults().of(kind).action {
        FallbackAction::Allow => Verdict::Allow,
        FallbackAction::Deny(errno) => Verdict::Deny(errno),
    };
    decisions.push(PossibleDecision { verdict: Some(verdict), by: DecidedBy::Default(kind) });
    Possible { decisions, looks_at: of.looks_at }
}

impl Possible {
    /// The verdict, if there is only one.
    pub fn verdict(&self) -> Option<&Verdict> {
        let (first, others) = self.decisions.split_first()?;
        let verdict = first.verdict.as_ref()?;
        others.iter().all(|other| other.verdict == first.verdict).then_some(verdict)
    }

    /// What denies the access, if every decision does: the first of what may.
    pub fn denied_by(&self) -> Option<DecidedBy> {
        let denies = |decision: &PossibleDecision| matches!(decision.verdict, Some(Verdict::Deny(_)));
        let first = self.decisions.first()?;
        self.decisions.iter().all(denies).then_some(first.by)
    }

    /// What decides, if that is the same in all decisions.
    pub fn by(&self) -> Option<DecidedBy> {
        let (first, others) = self.decisions.split_first()?;
        others.iter().all(|other| other.by == first.by).then_some(first.by)
    }
}

/// The results that are possible for a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Results {
    holds: bool,
    fails: bool,
    error: Option<EvalError>,
}

impl Results {
    fn only(result: Result<bool, EvalError>) -> Self {
        match result {
            Ok(holds) => Self { holds, fails: !holds, error: None },
            Err(error) => Self { holds: false, fails: false, error: Some(error) },
        }
    }
}

/// An access of which something is unknown, and what the rules have looked at so far.
struct Unknown<'a> {
    policy: &'a Policy,
    access: &'a Access,
    unknown: Inputs,
    looks_at: Inputs,
}

impl Unknown<'_> {
    /// The verdict of an action; `None` if it looks at something unknown.
    fn act(&mut self, action: &Action) -> Option<Result<Verdict, EvalError>> {
        let inputs: Inputs = match action {
            Action::Allow | Action::Deny(_) => Inputs::default(),
            Action::Set(_) | Action::Clamp(_) => Input::New.into(),
            Action::Ignore => [Input::New, Input::Old].into_iter().collect(),
        };
        match self.unknown_of(inputs) {
            true => None,
            false => Some(act(self.policy, action, self.access)),
        }
    }

    /// Whether one of these inputs is unknown. If so, the rules look at it.
    fn unknown_of(&mut self, inputs: Inputs) -> bool {
        let unknown = inputs.0 & self.unknown.0;
        self.looks_at.0 |= unknown;
        unknown != 0
    }

    fn results(&mut self, condition: &Condition) -> Results {
        match condition {
            Condition::All(parts) => self.all(parts.iter()),
            Condition::Any(parts) => {
                let mut results = Results { fails: true, ..Results::default() };
                for part in parts {
                    if !results.fails {
                        break;
                    }
                    let of_part = self.results(part);
                    results.holds |= of_part.holds;
                    results.error = results.error.or(of_part.error);
                    results.fails = of_part.fails;
                }
                results
            }
            Condition::Not(part) => {
                let Results { holds, fails, error } = self.results(part);
                Results { holds: fails, fails: holds, error }
            }
            Condition::Chain(chain) if chain.operands().any(|operand| operand.each_of().is_some()) => {
                let operands: Vec<Operand> = chain.operands().collect();
                self.of_each(condition, &operands)
            }
            Condition::Chain(chain) if chain.links().len() > 1 => {
                let pairs: Vec<Condition> = chain.pairs().map(Condition::Chain).collect();
                self.all(pairs.iter())
            }
            Condition::Chain(chain) => {
                let operands: Vec<Operand> = chain.operands().collect();
                self.of_operands(condition, &operands)
            }
            Condition::InRange(test) => self.of_operands(condition, &[test.operand()]),
            Condition::InSet(test) => self.of_operands(condition, &[test.operand()]),
            Condition::List(value, _) => self.of_operands(condition, &[Operand::Count(*value)]),
            Condition::Ranges(test) => self.of_operands(condition, &[Operand::Count(test.value())]),
            Condition::Text(operand, _) => {
                let (input, error) = match operand {
                    TextOperand::Value(Value::New) => (Input::New, Some(EvalError::NoNew)),
                    TextOperand::Value(Value::Old) => (Input::Old, Some(EvalError::NoOld)),
                    TextOperand::Comm => (Input::Comm, None),
                };
                self.of_input(condition, input, error)
            }
            Condition::Netns(_) => self.of_input(condition, Input::Netns, Some(EvalError::NoNetns)),
        }
    }

    /// The results of a condition on one input. If that is unknown, it may also be missing with this error.
    fn of_input(&mut self, condition: &Condition, input: Input, error: Option<EvalError>) -> Results {
        match self.unknown_of(input.into()) {
            true => Results { holds: true, fails: true, error },
            false => Results::only(holds(self.policy, condition, self.access)),
        }
    }

    /// One after the other, while they hold.
    fn all<'c>(&mut self, parts: impl Iterator<Item = &'c Condition>) -> Results {
        let mut results = Results { holds: true, ..Results::default() };
        for part in parts {
            if !results.holds {
                break;
            }
            let of_part = self.results(part);
            results.fails |= of_part.fails;
            results.error = results.error.or(of_part.error);
            results.holds = of_part.holds;
        }
        results
    }

    /// The results of a comparison of each number of a value. It may look at some of these operands only: it ends with the
    /// first number for which it does not hold, or at once if there is no number.
    fn of_each(&mut self, condition: &Condition, operands: &[Operand]) -> Results {
        let unknown = |operand: &Operand| input(*operand).filter(|&input| self.unknown.contains(input));
        let inputs: Inputs = operands.iter().filter_map(unknown).collect();
        if inputs.is_empty() {
            return Results::only(holds(self.policy, condition, self.access));
        }
        let known = operands.iter().filter(|operand| unknown(operand).is_none());
        // Errors stand for each other.
        let error =
            known.into_iter().find_map(|&operand| has_operand(self.policy, operand, self.access).err());
        self.unknown_of(inputs);
        Results { holds: true, fails: true, error: error.or(missing(inputs)) }
    }

    /// The results of a test of these numbers, all of which are evaluated. If one that is known cannot be, neither can the test.
    fn of_operands(&mut self, condition: &Condition, operands: &[Operand]) -> Results {
        let unknown = |operand: Operand| input(operand).filter(|&input| self.unknown.contains(input));
        let inputs: Inputs = operands.iter().filter_map(|&operand| unknown(operand)).collect();
        if inputs.is_empty() {
            return Results::only(holds(self.policy, condition, self.access));
        }
        for &operand in operands.iter().filter(|&&operand| unknown(operand).is_none()) {
            if let Err(error) = has_operand(self.policy, operand, self.access) {
                return Results::only(Err(error));
            }
        }
        self.unknown_of(inputs);
        Results { holds: true, fails: true, error: missing(inputs) }
    }
}

/// Why numbers of these inputs may not exist: there may be no such value, or not the right one.
fn missing(inputs: Inputs) -> Option<EvalError> {
    if inputs.contains(Input::New) {
        Some(EvalError::NoNew)
    } else {
        inputs.contains(Input::Old).then_some(EvalError::NoOld)
    }
}

/// What an operand looks at, if anything of it can be unknown.
fn input(operand: Operand) -> Option<Input> {
    match operand {
        Operand::Number(value, ..) | Operand::Count(value) => Some(match value {
            Value::New => Input::New,
            Value::Old => Input::Old,
        }),
        Operand::Uid => Some(Input::Uid),
        Operand::Gid => Some(Input::Gid),
        Operand::Literal(_) | Operand::Pos => None,
    }
}

impl Inputs {
    /// All of them.
    pub fn all() -> Self {
        [Input::New, Input::Old, Input::Uid, Input::Gid, Input::Comm, Input::Netns].into_iter().collect()
    }

    /// The others than `input`.
    #[must_use]
    pub fn without(self, input: Input) -> Self {
        Self(self.0 & !Self::from(input).0)
    }

    /// Whether `input` is one of them.
    pub fn contains(self, input: Input) -> bool {
        self.0 & Self::from(input).0 != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl From<Input> for Inputs {
    fn from(input: Input) -> Self {
        Self(1 << input as u8)
    }
}

impl FromIterator<Input> for Inputs {
    fn from_iter<T: IntoIterator<Item = Input>>(inputs: T) -> Self {
        Self(inputs.into_iter().fold(0, |all, input| all | Self::from(input).0))
    }
}
