//! What a policy means: the specification that compiled programs are tested against.

use crate::value::{Numbers, SetEntry, contains, numbers, ranges, text};
use crate::{
    Access, AccessKind, Action, Condition, DecidedBy, Decision, Elements, Errno, EvalError, FallbackAction,
    Integer, KnobPattern, ListTest, Operand, Policy, Range, Relation, Rule, TextOperand, TextTest, Value,
    Verdict, limits,
};

/// Whether a rule applies to an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// It matches: it decides.
    Yes,
    /// It is for the other kind of access.
    OtherKind,
    /// None of its patterns matches the name.
    OtherKnob,
    /// Its condition does not hold.
    ConditionFalse,
}

/// Decides `access`: by the first rule whose kinds, patterns and condition match, otherwise by the default. A rule that
/// cannot be evaluated denies with `EINVAL`, whatever later rules say.
pub fn evaluate(policy: &Policy, access: &Access) -> Decision {
    for (index, rule) in policy.rules().iter().enumerate() {
        let verdict = applies(policy, rule, access).and_then(|applies| match applies {
            Applies::Yes => act(policy, rule.action(), access).map(Some),
            _ => Ok(None),
        });
        match verdict {
            Ok(None) => {}
            Ok(Some(verdict)) => {
                let log = rule.logs(&verdict);
                return Decision { verdict, by: DecidedBy::Rule(index), log };
            }
            Err(error) => {
                let by = DecidedBy::EvalError { rule: index, error };
                return Decision { verdict: Verdict::Deny(Errno::EINVAL), by, log: true };
            }
        }
    }
    let default = policy.defaults().of(access.kind());
    let verdict = match default.action {
        FallbackAction::Allow => Verdict::Allow,
        FallbackAction::Deny(errno) => Verdict::Deny(errno),
    };
    Decision { verdict, by: DecidedBy::Default(access.kind()), log: default.logs() }
}

/// Whether `rule`, a rule of `policy`, matches `access`, and if not, why.
///
/// # Errors
/// The rule cannot be evaluated.
pub fn applies(policy: &Policy, rule: &Rule, access: &Access) -> Result<Applies, EvalError> {
    if !rule.kinds().contains(access.kind()) {
        return Ok(Applies::OtherKind);
    }
    if !rule.patterns().iter().any(KnobPattern::matches_every_name) {
        let name = access.knob.as_bytes();
        if name.len() > limits::NAME_MAX {
            // Its last component may rule out a match.
            let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let may_match = |pattern: &KnobPattern| {
                pattern.last_components().is_none_or(|last_components| last_components.contains(last))
            };
            return if rule.patterns().iter().any(may_match) {
                Err(EvalError::NameTooLong)
            } else {
                Ok(Applies::OtherKnob)
            };
        }
        if !rule.patterns().iter().any(|pattern| pattern.matches(name)) {
            return Ok(Applies::OtherKnob);
        }
    }
    let holds = rule.condition().map_or(Ok(true), |condition| holds(policy, condition, access))?;
    Ok(if holds { Applies::Yes } else { Applies::ConditionFalse })
}

/// What `action` does to `access`, if its rule matches.
pub(crate) fn act(policy: &Policy, action: &Action, access: &Access) -> Result<Verdict, EvalError> {
    match action {
        Action::Allow => Ok(Verdict::Allow),
        Action::Deny(errno) => Ok(Verdict::Deny(*errno)),
        Action::Set(replacement) => rewrite(replacement.as_bytes(), access),
        Action::Ignore => {
            new(access)?;
            rewrite(text(old(access)?, Value::Old)?, access)
        }
        Action::Clamp(ranges) => {
            let written = numbers_of(policy, Value::New, access)?;
            if written.len() != ranges.len() {
                let (found, expected) = (written.len(), ranges.len());
                return Err(EvalError::Count { value: Value::New, found, expected });
            }
            let clamped: Vec<Integer> =
                written.iter().zip(ranges).map(|(number, range)| range.clamp(*number)).collect();
            if clamped == *written {
                return Ok(Verdict::Allow);
            }
            check_stored_unchanged(policy, &clamped, access)?;
            let written_out: Vec<String> = clamped.iter().map(Integer::to_string).collect();
            rewrite(written_out.join(" ").as_bytes(), access)
        }
    }
}

/// Replaces the new value with `replacement`, padded with newlines to the same length, so that `write(2)` returns what
/// the caller expects.
fn rewrite(replacement: &[u8], access: &Access) -> Result<Verdict, EvalError> {
    let written = new(access)?;
    if written.len() > limits::VALUE_MAX {
        return Err(EvalError::TooLong(Value::New));
    }
    if written.len() > limits::REPLACED_MAX {
        return Err(EvalError::TooLongToReplace);
    }
    if replacement.len() > written.len() {
        return Err(EvalError::DoesNotFit { needed: replacement.len(), room: written.len() });
    }
    let mut padded = replacement.to_vec();
    padded.resize(written.len(), b'\n');
    Ok(if padded == written { Verdict::Allow } else { Verdict::Rewrite(padded) })
}

/// Whether `condition`, a condition of `policy`, holds for `access`.
///
/// # Errors
/// The rule cannot be evaluated.
pub fn holds(policy: &Policy, condition: &Condition, access: &Access) -> Result<bool, EvalError> {
    match condition {
        Condition::All(all) => {
            for condition in all {
                if !holds(policy, condition, access)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Condition::Any(any) => {
            for condition in any {
                if holds(policy, condition, access)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Condition::Not(condition) => Ok(!holds(policy, condition, access)?),
        Condition::Chain(chain) => {
            let each = chain.operands().find_map(Operand::each_of);
            holds_for(policy, each, access, |at| {
                let mut left = integer(policy, chain.first(), at, access)?;
                for (relation, operand) in chain.links() {
                    let right = integer(policy, *operand, at, access)?;
                    if !relation.holds(left, right) {
                        return Ok(false);
                    }
                    left = right;
                }
                Ok(true)
            })
        }
        Condition::InRange(test) => {
            let operand = test.operand();
            holds_for(policy, operand.each_of(), access, |at| {
                Ok(test.range().contains(integer(policy, operand, at, access)?))
            })
        }
        Condition::InSet(test) => {
            let operand = test.operand();
            holds_for(policy, operand.each_of(), access, |at| {
                let number = integer(policy, operand, at, access)?;
                Ok(test.members().iter().any(|member| member.contains(number)))
            })
        }
        Condition::List(value, test) => {
            let numbers = numbers_of(policy, *value, access)?;
            let (found, expected) = (numbers.len(), test.len());
            test.holds(&numbers).ok_or(EvalError::Count { value: *value, found, expected })
        }
        Condition::Ranges(test) => {
            let bytes = match test.value() {
                Value::New => new(access)?,
                Value::Old => old(access)?,
            };
            Ok(is_in_ranges(test.members(), &ranges(bytes, test.value())?))
        }
        Condition::Text(operand, test) => {
            let subject = match operand {
                TextOperand::Value(Value::New) => text(new(access)?, Value::New)?,
                TextOperand::Value(Value::Old) => text(old(access)?, Value::Old)?,
                TextOperand::Comm => &access.task.comm,
            };
            Ok(test.holds(subject))
        }
        Condition::Netns(netns) => Ok(access.knob_netns.ok_or(EvalError::NoNetns)? == *netns),
    }
}

/// Whether a comparison holds. If it is about each number of the value `each`, that has to have some, and the comparison has to hold
/// for the number at every index; `test` gets the index.
fn holds_for(
    policy: &Policy,
    each: Option<Value>,
    access: &Access,
    test: impl Fn(usize) -> Result<bool, EvalError>,
) -> Result<bool, EvalError> {
    let Some(value) = each else { return test(0) };
    let count = numbers_of(policy, value, access)?.len();
    for index in 0..count {
        if !test(index)? {
            return Ok(false);
        }
    }
    Ok(count > 0)
}

/// Whether `operand` can be evaluated: `Ok(false)` if it is each number of a value that has none.
pub(crate) fn has_operand(policy: &Policy, operand: Operand, access: &Access) -> Result<bool, EvalError> {
    holds_for(policy, operand.each_of(), access, |at| integer(policy, operand, at, access).map(|_| true))
}

/// The integer that `operand` is; `each` number of a value is the one at this index.
fn integer(policy: &Policy, operand: Operand, each: usize, access: &Access) -> Result<Integer, EvalError> {
    match operand {
        Operand::Literal(integer) => Ok(integer),
        Operand::Number(value, elements, mask) => {
            let numbers = numbers_of(policy, value, access)?;
            let index = match elements {
                Elements::Only if numbers.len() == 1 => 0,
                Elements::Only => {
                    return Err(EvalError::Count { value, found: numbers.len(), expected: 1 });
                }
                Elements::At(index) => usize::from(index),
                Elements::Each => each,
            };
            let number =
                numbers.get(index).ok_or(EvalError::NoElement { value, found: numbers.len(), index })?;
            match mask {
                None => Ok(*number),
                Some(mask) => mask.of(*number).ok_or(EvalError::NegativeMasked(value)),
            }
        }
        // There are at most ELEMENTS_MAX of them.
        Operand::Count(value) => Ok(Integer::from(numbers_of(policy, value, access)?.len() as u32)),
        // The hook shows the low 32 bits.
        Operand::Pos => Ok(Integer::from(access.pos as u32)),
        Operand::Uid => Ok(Integer::from(access.task.uid)),
        Operand::Gid => Ok(Integer::from(access.task.gid)),
    }
}

fn numbers_of(policy: &Policy, value: Value, access: &Access) -> Result<Numbers, EvalError> {
    match value {
        Value::New => {
            let numbers = numbers(new(access)?, value)?;
            check_stored_unchanged(policy, &numbers, access)?;
            Ok(numbers)
        }
        // The current value has already been stored.
        Value::Old => numbers(old(access)?, value),
    }
}

/// Checks that the knob's handler stores these numbers unchanged. Otherwise the rule would look at one number, and the
/// knob would store another.
fn check_stored_unchanged(policy: &Policy, numbers: &[Integer], access: &Access) -> Result<(), EvalError> {
    let width = policy.width_of(access.knob.as_bytes());
    match numbers.iter().find(|number| !width.contains(**number)) {
        Some(&number) => Err(EvalError::Width { number, width }),
        None => Ok(()),
    }
}

/// The new value, if it alone determines what the knob will hold.
fn new(access: &Access) -> Result<&[u8], EvalError> {
    let written = access.new.as_deref().filter(|new| !new.is_empty()).ok_or(EvalError::NoNew)?;
    // The hook shows the low 32 bits. To a handler, any other position is after the end of the value.
    if access.pos as u32 == 0 { Ok(written) } else { Err(EvalError::Position) }
}

/// The current value. The hook shows no value if it is empty.
fn old(access: &Access) -> Result<&[u8], EvalError> {
    access.old.as_deref().filter(|old| !old.is_empty()).ok_or(EvalError::NoOld)
}

impl Relation {
    /// Whether the relation holds between `left` and `right`.
    pub fn holds<T: Ord>(self, left: T, right: T) -> bool {
        match self {
            Relation::Less => left < right,
            Relation::LessOrEqual => left <= right,
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::GreaterOrEqual => left >= right,
            Relation::Greater => left > right,
        }
    }
}

/// Whether there are `entries`, and both ends of each are in the same part of what `members` have together.
pub(crate) fn is_in_ranges(members: &[Range], entries: &[SetEntry]) -> bool {
    let parts = Range::merged(members);
    let is_in = |part: &Range, end: Option<Integer>| end.is_some_and(|end| part.contains(end));
    let is_inside = |(low, high): &SetEntry| parts.iter().any(|part| is_in(part, *low) && is_in(part, *high));
    !entries.is_empty() && entries.iter().all(is_inside)
}

impl ListTest {
    /// Whether it holds for these numbers; `None` if there are fewer or more than it has.
    pub(crate) fn holds(&self, numbers: &[Integer]) -> Option<bool> {
        let ranges = self.ranges();
        let is_inside = || numbers.iter().zip(&ranges).all(|(number, range)| range.contains(*number));
        (numbers.len() == ranges.len()).then(|| is_inside() != matches!(self, Self::Differs(_)))
    }
}

impl TextTest {
    /// Whether it holds for `subject`.
    pub fn holds(&self, subject: &[u8]) -> bool {
        match self {
            TextTest::Equals(text) => subject == text.as_bytes(),
            TextTest::Differs(text) => subject != text.as_bytes(),
            TextTest::In(texts) => texts.iter().any(|text| subject == text.as_bytes()),
            TextTest::Matches(glob) => glob.matches(subject),
            TextTest::StartsWith(text) => subject.starts_with(text.as_bytes()),
            TextTest::Contains(text) => contains(subject, text.as_bytes()),
        }
    }
}

/// The kind of an access, as the language writes it.
impl std::fmt::Display for AccessKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AccessKind::Read => "read",
            AccessKind::Write => "write",
        })
    }
}
