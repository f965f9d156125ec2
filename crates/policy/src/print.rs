//! The canonical text of a policy. Parsing it gives the same policy.

use std::fmt::{self, Display, Formatter};

use crate::selector::{FieldTest, Predicate, Selector, SelectorCondition, SelectorField};
use crate::{
    Access, Action, Condition, Elements, Errno, Expected, Fallback, FallbackAction, Kinds, KnobNetns,
    ListTest, Logging, Mode, Operand, Policy, Range, Relation, Rule, Test, TestStep, Text, TextOperand,
    TextTest, Value, Verdict,
};

/// The canonical text of `policy`: one statement a line, names dotted, integers decimal.
///
/// ```
/// use knobgate_policy::{CheckOptions, Source, parse, print};
///
/// let text = "policy x\nallow write kernel/panic   if new in {0x0,0x0a}";
/// let policy = parse(Source::new("x.knob", text), &CheckOptions::default()).unwrap().into_policy();
/// assert_eq!(
///     print(&policy),
///     "policy x\n\ndefault read allow\ndefault write deny\n\nallow write kernel.panic if new in {0, 10}\n"
/// );
/// ```
pub fn print(policy: &Policy) -> String {
    policy.to_string()
}

impl Display for Policy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "policy {}", self.name())?;
        if self.mode() != Mode::default() {
            writeln!(f, "mode {}", self.mode())?;
        }
        for pattern in self.width_64() {
            writeln!(f, "width 64 {pattern}")?;
        }
        for selector in self.apply_if() {
            writeln!(f, "apply if {selector}")?;
        }
        writeln!(f, "\ndefault read {}", self.defaults().read)?;
        writeln!(f, "default write {}", self.defaults().write)?;
        for (i, rule) in self.rules().iter().enumerate() {
            writeln!(f, "{}{rule}", if i == 0 { "\n" } else { "" })?;
        }
        for test in self.tests() {
            writeln!(f, "\n{test}")?;
        }
        Ok(())
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
        })
    }
}

impl Display for Fallback {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.action {
            FallbackAction::Allow => f.write_str("allow")?,
            FallbackAction::Deny(errno) => deny(f, errno)?,
        }
        log(f, self.log)
    }
}

/// As written in a policy.
impl Display for Logging {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Logging::Never => f.write_str("nolog"),
            &Logging::DEFAULT => f.write_str("log"),
            Logging::Limited(rate) => write!(f, "log({}/s)", rate.get()),
            Logging::All => f.write_str("log(all)"),
        }
    }
}

impl Display for Kinds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kinds::Read => "read",
            Kinds::Write => "write",
            Kinds::Both => "read write",
        })
    }
}

/// One line, without its end.
impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.action() {
            Action::Allow => f.write_str("allow")?,
            Action::Deny(errno) => deny(f, *errno)?,
            Action::Set(_) => f.write_str("set")?,
            Action::Clamp(_) => f.write_str("clamp")?,
            Action::Ignore => f.write_str("ignore")?,
        }
        write!(f, " {} ", self.kinds())?;
        list(f, self.patterns())?;
        match self.action() {
            Action::Set(text) => write!(f, " to {text}")?,
            Action::Clamp(ranges) => {
                f.write_str(" to ")?;
                if let [range] = &**ranges {
                    write!(f, "{range}")?;
                } else {
                    f.write_str("[")?;
                    list(f, ranges)?;
                    f.write_str("]")?;
                }
            }
            Action::Allow | Action::Deny(_) | Action::Ignore => {}
        }
        if let Some(condition) = self.condition() {
            write!(f, " if {condition}")?;
        }
        log(f, self.log())
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(low) = self.low() {
            write!(f, "{low}")?;
        }
        f.write_str("..")?;
        if let Some(high) = self.high() {
            write!(f, "{high}")?;
        }
        Ok(())
    }
}

/// A range in a set or a list: an integer alone is written without dots.
struct Member<'a>(&'a Range);

impl Display for Member<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.only_member() {
            Some(integer) => integer.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Condition::All(parts) => {
                joined(f, parts, " and ", |part| matches!(part, Condition::All(_) | Condition::Any(_)))
            }
            Condition::Any(parts) => joined(f, parts, " or ", |part| matches!(part, Condition::Any(_))),
            Condition::Not(negated) => match **negated {
                Condition::All(_) | Condition::Any(_) => write!(f, "not ({negated})"),
                _ => write!(f, "not {negated}"),
            },
            Condition::Chain(chain) => {
                write!(f, "{}", chain.first())?;
                chain.links().iter().try_for_each(|(relation, operand)| write!(f, " {relation} {operand}"))
            }
            Condition::InRange(test) => write!(f, "{} in {}", test.operand(), test.range()),
            Condition::InSet(test) => {
                write!(f, "{} in {{", test.operand())?;
                list(f, &test.members().iter().map(Member).collect::<Vec<_>>())?;
                f.write_str("}")
            }
            Condition::List(value, test) => {
                let relation = match test {
                    ListTest::Equals(_) => "==",
                    ListTest::Differs(_) => "!=",
                    ListTest::In(_) => "in",
                };
                write!(f, "{} {relation} [", keyword(*value))?;
                list(f, &test.ranges().iter().map(Member).collect::<Vec<_>>())?;
                f.write_str("]")
            }
            Condition::Ranges(test) => {
                write!(f, "ranges({}) in ", keyword(test.value()))?;
                match test.members() {
                    [range] if range.only_member().is_none() => range.fmt(f),
                    members => {
                        f.write_str("{")?;
                        list(f, &members.iter().map(Member).collect::<Vec<_>>())?;
                        f.write_str("}")
                    }
                }
            }
            Condition::Text(operand, test) => write!(f, "{operand} {test}"),
            Condition::Netns(KnobNetns::Host) => f.write_str("netns == host"),
            Condition::Netns(KnobNetns::Other) => f.write_str("netns != host"),
        }
    }
}

/// What comes after `apply if`.
impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.condition().fmt(f)
    }
}

impl Display for SelectorCondition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => joined(f, parts, " and ", |part| matches!(part, Self::All(_) | Self::Any(_))),
            Self::Any(parts) => joined(f, parts, " or ", |part| matches!(part, Self::Any(_))),
            Self::Not(negated) => match **negated {
                Self::All(_) | Self::Any(_) => write!(f, "not ({negated})"),
                _ => write!(f, "not {negated}"),
            },
            Self::Test(test) => test.fmt(f),
        }
    }
}

impl Display for FieldTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Engines are words, and are written without quotes.
        let is_engine = *self.field() == SelectorField::Engine;
        let word = |text: &Text| {
            if is_engine { text.to_string().trim_matches('"').to_owned() } else { text.to_string() }
        };
        write!(f, "{} ", self.field())?;
        match self.predicate() {
            Predicate::Equals(text) => write!(f, "== {}", word(text)),
            Predicate::Differs(text) => write!(f, "!= {}", word(text)),
            Predicate::In(texts) => {
                f.write_str("in {")?;
                list(f, &texts.iter().map(word).collect::<Vec<_>>())?;
                f.write_str("}")
            }
            Predicate::StartsWith(text) => write!(f, "starts with {text}"),
            Predicate::Contains(text) => write!(f, "contains {text}"),
            Predicate::Matches(glob) => write!(f, "matches {}", Text::from(glob.to_string().as_str())),
            Predicate::MatchesPath(glob) => write!(f, "matches {}", Text::from(glob.to_string().as_str())),
        }
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Relation::Less => "<",
            Relation::LessOrEqual => "<=",
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::GreaterOrEqual => ">=",
            Relation::Greater => ">",
        })
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Literal(integer) => write!(f, "{integer}"),
            Operand::Number(value, elements, mask) => {
                let value = keyword(*value);
                match elements {
                    Elements::Only => f.write_str(value)?,
                    Elements::At(index) => write!(f, "{value}[{index}]")?,
                    Elements::Each => write!(f, "each({value})")?,
                }
                mask.map_or(Ok(()), |mask| write!(f, " & {mask}"))
            }
            Operand::Count(value) => write!(f, "count({})", keyword(*value)),
            Operand::Pos => f.write_str("pos"),
            Operand::Uid => f.write_str("uid"),
            Operand::Gid => f.write_str("gid"),
        }
    }
}

impl Display for TextOperand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextOperand::Value(value) => keyword(*value),
            TextOperand::Comm => "comm",
        })
    }
}

impl Display for TextTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            TextTest::Equals(text) => write!(f, "== {text}"),
            TextTest::Differs(text) => write!(f, "!= {text}"),
            TextTest::In(texts) => {
                f.write_str("in {")?;
                list(f, texts)?;
                f.write_str("}")
            }
            TextTest::Matches(glob) => write!(f, "matches {}", Text::from(glob.to_string().as_str())),
            TextTest::StartsWith(text) => write!(f, "starts with {text}"),
            TextTest::Contains(text) => write!(f, "contains {text}"),
        }
    }
}

/// The whole block, without the end of its last line.
impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "test {} {{", Text::from(self.name.as_str()))?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        f.write_str("}")
    }
}

/// One line, without its end.
impl Display for TestStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", self.access(), self.expected())
    }
}

/// As written in a `test` block.
impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| Text::from(bytes);
        write!(f, "{} {}", self.kind(), self.knob)?;
        if let Some(new) = &self.new {
            write!(f, " {}", text(new))?;
        }
        if let Some(old) = &self.old {
            write!(f, " old {}", text(old))?;
        }
        for (word, number) in
            [("pos", self.pos), ("uid", self.task.uid.into()), ("gid", self.task.gid.into())]
        {
            if number != 0 {
                write!(f, " {word} {number}")?;
            }
        }
        if !self.task.comm.is_empty() {
            write!(f, " comm {}", text(&self.task.comm))?;
        }
        if let Some(netns) = &self.knob_netns {
            write!(f, " netns {netns}")?;
        }
        Ok(())
    }
}

/// As written in a `test` block.
impl Display for KnobNetns {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KnobNetns::Host => "host",
            KnobNetns::Other => "other",
        })
    }
}

impl Display for Expected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Allow => f.write_str("allow"),
            Expected::Deny(None) => f.write_str("deny"),
            Expected::Deny(Some(errno)) => write!(f, "deny {errno}"),
            Expected::Set(text) => write!(f, "set {text}"),
        }
    }
}

/// As written in a `test` block.
impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Allow => f.write_str("allow"),
            Verdict::Deny(errno) => write!(f, "deny {errno}"),
            Verdict::Rewrite(bytes) => write!(f, "set {}", Text::from(bytes.as_slice())),
        }
    }
}

fn deny(f: &mut Formatter<'_>, errno: Errno) -> fmt::Result {
    if errno == Errno::EPERM { f.write_str("deny") } else { write!(f, "deny({errno})") }
}

fn log(f: &mut Formatter<'_>, log: Option<Logging>) -> fmt::Result {
    log.map_or(Ok(()), |log| write!(f, " {log}"))
}

fn keyword(value: Value) -> &'static str {
    match value {
        Value::New => "new",
        Value::Old => "old",
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// Conditions with `word` between them, in parentheses where they need them.
fn joined<T: Display>(
    f: &mut Formatter<'_>,
    parts: &[T],
    word: &str,
    in_parens: fn(&T) -> bool,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { word })?;
        if in_parens(part) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}
