//! From documents to policies. Every error is recorded with the path of what is wrong.

use super::JsonDiagnostic;
use super::document::{
    ActionDocument, ConditionDocument, DefaultsDocument, EventRateDocument, ExpectedDocument,
    FallbackActionDocument, FallbackDocument, IntegerDocument, KindDocument, ListTestDocument, LogDocument,
    MaskedDocument, MemberDocument, ModeDocument, NetnsDocument, OperandDocument, PolicyDocument,
    RangeDocument, RelationDocument, RuleDocument, StepDocument, TestDocument, TextConditionDocument,
    TextDocument, TextOperandDocument, TextTestDocument, UnlimitedDocument, ValueDocument,
};
use crate::did_you_mean::did_you_mean;
use crate::{
    Access, Action, Condition, Defaults, Errno, EventRate, Expected, Fallback, FallbackAction, Integer,
    Kinds, KnobName, KnobNetns, KnobPattern, ListTest, Logging, Mask, Mode, Operand, Policy, PolicyError,
    Range, Relation, Rule, Task, Test, TestStep, TextGlob, TextOperand, TextTest, Value, ValueText,
};

/// The policy in `document`, or all errors in it.
pub(super) fn policy(document: &PolicyDocument) -> Result<Policy, Vec<JsonDiagnostic>> {
    let mut reader = DocumentReader { path: String::new(), errors: Vec::new() };
    reader.policy(document).ok_or(reader.errors)
}

/// Its methods record errors, and return `None` after one.
pub(super) struct DocumentReader {
    /// The current path in the document.
    path: String,
    errors: Vec<JsonDiagnostic>,
}

impl DocumentReader {
    fn policy(&mut self, document: &PolicyDocument) -> Option<Policy> {
        let policy = self.at("name", |reader| reader.valid(Policy::new(document.name.as_str())));
        let defaults = self.at("defaults", |reader| reader.defaults(&document.defaults));
        let rules = self.each("rules", &document.rules, Self::rule);
        let tests = self.each("tests", &document.tests, Self::test);
        let width_64 = self.each("width_64", &document.width_64, Self::pattern);
        let apply_if = self.each("apply_if", &document.apply_if, Self::selector);
        let mode = match document.mode {
            ModeDocument::Enforce => Mode::Enforce,
            ModeDocument::Audit => Mode::Audit,
        };
        let policy = policy?.with_mode(mode).with_defaults(defaults?).with_rules(rules?).with_tests(tests?);
        Some(policy.with_width_64(width_64?).with_apply_if(apply_if?))
    }

    fn defaults(&mut self, document: &DefaultsDocument) -> Option<Defaults> {
        let mut of = |kind: &str, stated: &Option<FallbackDocument>, otherwise: Fallback| match stated {
            Some(stated) => self.at(kind, |reader| reader.fallback(stated)),
            None => Some(otherwise),
        };
        let absent = Defaults::default();
        let (read, write) =
            (of("read", &document.read, absent.read), of("write", &document.write, absent.write));
        Some(Defaults { read: read?, write: write? })
    }

    fn fallback(&mut self, document: &FallbackDocument) -> Option<Fallback> {
        let action = match &document.action {
            FallbackActionDocument::Allow => FallbackAction::Allow,
            FallbackActionDocument::Deny(errno) => {
                FallbackAction::Deny(self.at("action.deny", |reader| reader.errno(errno))?)
            }
        };
        let log = self.logging(document.log)?;
        Some(Fallback { action, log })
    }

    fn errno(&mut self, name: &str) -> Option<Errno> {
        Errno::from_name(name).or_else(|| {
            let near = did_you_mean(name, Errno::ALL.iter().map(|errno| errno.name()));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            self.error(format!("there is no errno {name:?}"), help)
        })
    }

    fn rule(&mut self, document: &RuleDocument) -> Option<Rule> {
        let action = self.at("action", |reader| reader.action(&document.action));
        let kinds = self.at("kinds", |reader| reader.kinds(&document.kinds));
        let patterns = self.each("knobs", &document.knobs, |reader, knob| {
            let pattern = reader.pattern(knob)?;
            reader.valid(pattern.check_is_sysctl())?;
            Some(pattern)
        });
        let condition = document.condition.as_ref();
        let condition = condition.map(|condition| self.at("condition", |reader| reader.condition(condition)));
        let log = self.logging(document.log);
        let (kinds, patterns) = (kinds?, patterns?);
        let place = if patterns.is_empty() { "knobs" } else { "kinds" };
        let action = action?;
        let rule = self.at(place, |reader| reader.valid(Rule::new(action, kinds, patterns)))?;
        let rule = match condition {
            Some(condition) => {
                let condition = condition?;
                self.at("condition", |reader| reader.valid(rule.with_condition(condition)))?
            }
            None => rule,
        };
        Some(rule.with_log(log?))
    }

    fn logging(&mut self, document: Option<LogDocument>) -> Option<Option<Logging>> {
        Some(match document {
            None => None,
            Some(LogDocument::Default(false)) => Some(Logging::Never),
            Some(LogDocument::Default(true)) => Some(Logging::DEFAULT),
            Some(LogDocument::Unlimited(UnlimitedDocument::All)) => Some(Logging::All),
            Some(LogDocument::Limited(EventRateDocument { per_second })) => {
                let rate =
                    self.at("log.per_second", |reader| reader.valid(EventRate::per_second(per_second)))?;
                Some(Logging::Limited(rate))
            }
        })
    }

    fn action(&mut self, document: &ActionDocument) -> Option<Action> {
        match document {
            ActionDocument::Allow => Some(Action::Allow),
            ActionDocument::Deny(errno) => self.at("deny", |reader| reader.errno(errno)).map(Action::Deny),
            ActionDocument::Set(text) => self.at("set", |reader| {
                let text = reader.bytes(text)?;
                reader.valid(Action::set(text))
            }),
            ActionDocument::Clamp(ranges) => {
                let ranges = self.each("clamp", ranges, Self::range)?;
                self.at("clamp", |reader| reader.valid(Action::clamp(ranges)))
            }
            ActionDocument::Ignore => Some(Action::Ignore),
        }
    }

    fn kinds(&mut self, kinds: &[KindDocument]) -> Option<Kinds> {
        match kinds {
            [KindDocument::Read] => Some(Kinds::Read),
            [KindDocument::Write] => Some(Kinds::Write),
            [KindDocument::Read, KindDocument::Write] | [KindDocument::Write, KindDocument::Read] => {
                Some(Kinds::Both)
            }
            _ => self.error("expected \"read\", \"write\" or both", None),
        }
    }

    fn pattern(&mut self, text: &String) -> Option<KnobPattern> {
        self.valid(KnobPattern::parse(text))
    }

    fn range(&mut self, document: &RangeDocument) -> Option<Range> {
        let low = document.low.map(|low| self.at("low", |reader| reader.integer(&low)));
        let high = document.high.map(|high| self.at("high", |reader| reader.integer(&high)));
        // An absent end is fine, and a wrong one is not.
        let end = |end: Option<Option<Integer>>| end.map_or(Some(None), |end| end.map(Some));
        self.valid(Range::new(end(low)?, end(high)?))
    }

    fn integer(&mut self, integer: &IntegerDocument) -> Option<Integer> {
        Integer::new(integer.0).or_else(|| {
            let help = format!("integers are between {} and {}", Integer::MIN, Integer::MAX);
            self.error("this integer is beyond 64 bits", Some(help))
        })
    }

    pub(super) fn bytes(&mut self, text: &TextDocument) -> Option<Vec<u8>> {
        let hex = match text {
            TextDocument::Utf8(text) => return Some(text.as_bytes().to_vec()),
            TextDocument::Hex(document) => &document.hex,
        };
        let byte = |pair: &[u8]| {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            match pair {
                [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
                _ => None,
            }
        };
        let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
        bytes.or_else(|| self.error("expected two hexadecimal digits for each byte", None))
    }

    fn value_text(&mut self, text: &TextDocument) -> Option<ValueText> {
        let bytes = self.bytes(text)?;
        self.valid(ValueText::new(bytes))
    }

    fn condition(&mut self, document: &ConditionDocument) -> Option<Condition> {
        match document {
            ConditionDocument::All(parts) => {
                let parts = self.each("all", parts, Self::condition)?;
                self.at("all", |reader| reader.valid(Condition::all(parts)))
            }
            ConditionDocument::Any(parts) => {
                let parts = self.each("any", parts, Self::condition)?;
                self.at("any", |reader| reader.valid(Condition::any(parts)))
            }
            ConditionDocument::Not(negated) => {
                let negated = self.at("not", |reader| reader.condition(negated))?;
                Some(Condition::Not(Box::new(negated)))
            }
            ConditionDocument::Chain(chain) => self.at("chain", |reader| {
                let first = reader.at("first", |reader| reader.operand(&chain.first));
                let links = reader.each("links", &chain.links, |reader, link| {
                    let operand = reader.at("operand", |reader| reader.operand(&link.operand))?;
                    Some((relation(link.relation), operand))
                });
                reader.valid(Condition::chain(first?, links?))
            }),
            ConditionDocument::InRange(test) => self.at("in_range", |reader| {
                let operand = reader.at("operand", |reader| reader.operand(&test.operand));
                let range = reader.at("range", |reader| reader.range(&test.range));
                reader.valid(Condition::in_range(operand?, range?))
            }),
            ConditionDocument::InSet(test) => self.at("in_set", |reader| {
                let operand = reader.at("operand", |reader| reader.operand(&test.operand));
                let members = reader.each("members", &test.members, Self::member);
                reader.valid(Condition::in_set(operand?, members?))
            }),
            ConditionDocument::List(list) => self.at("list", |reader| {
                let test = reader.at("test", |reader| reader.list_test(&list.test))?;
                Some(Condition::List(value(list.of), test))
            }),
            ConditionDocument::Ranges(ranges) => self.at("ranges", |reader| {
                let members = reader.each("members", &ranges.members, Self::member)?;
                reader.valid(Condition::in_ranges(value(ranges.of), members))
            }),
            ConditionDocument::Text(test) => self.at("text", |reader| reader.text_condition(test)),
            ConditionDocument::Netns(of) => Some(Condition::Netns(netns(*of))),
        }
    }

    fn member(&mut self, member: &MemberDocument) -> Option<Range> {
        match member {
            MemberDocument::Integer(integer) => self.integer(integer).map(Range::only),
            MemberDocument::Range(range) => self.range(range),
        }
    }

    fn list_test(&mut self, test: &ListTestDocument) -> Option<ListTest> {
        match test {
            ListTestDocument::Equals(numbers) => {
                let numbers = self.each("equals", numbers, Self::integer)?;
                self.at("equals", |reader| reader.valid(ListTest::equals(numbers)))
            }
            ListTestDocument::Differs(numbers) => {
                let numbers = self.each("differs", numbers, Self::integer)?;
                self.at("differs", |reader| reader.valid(ListTest::differs(numbers)))
            }
            ListTestDocument::In(members) => {
                let ranges = self.each("in", members, Self::member)?;
                self.at("in", |reader| reader.valid(ListTest::is_in(ranges)))
            }
        }
    }

    fn operand(&mut self, operand: &OperandDocument) -> Option<Operand> {
        Some(match operand {
            OperandDocument::Literal(literal) => Operand::Literal(self.integer(literal)?),
            OperandDocument::New => Operand::only(Value::New),
            OperandDocument::Old => Operand::only(Value::Old),
            OperandDocument::Each(of) => Operand::each(value(*of)),
            OperandDocument::Masked(masked) => return self.at("masked", |reader| reader.masked(masked)),
            OperandDocument::Element(element) => {
                return self.valid(Operand::element(value(element.of), element.index));
            }
            OperandDocument::Count(of) => Operand::Count(value(*of)),
            OperandDocument::Pos => Operand::Pos,
            OperandDocument::Uid => Operand::Uid,
            OperandDocument::Gid => Operand::Gid,
        })
    }

    fn masked(&mut self, document: &MaskedDocument) -> Option<Operand> {
        let mask = self.at("mask", |reader| {
            let mask = reader.integer(&document.mask)?;
            reader.valid(Mask::new(mask))
        });
        let operand = self.at("operand", |reader| match reader.operand(&document.operand)? {
            Operand::Number(value, elements, None) => Some((value, elements)),
            _ => reader.error("expected a number of a value", Some("only these have a mask".to_owned())),
        });
        let ((value, elements), mask) = (operand?, mask?);
        Some(Operand::Number(value, elements, Some(mask)))
    }

    fn text_condition(&mut self, condition: &TextConditionDocument) -> Option<Condition> {
        let operand = match condition.operand {
            TextOperandDocument::New => TextOperand::Value(Value::New),
            TextOperandDocument::Old => TextOperand::Value(Value::Old),
            TextOperandDocument::Comm => TextOperand::Comm,
        };
        let mut text = |name: &str, text: &TextDocument| self.at(name, |reader| reader.value_text(text));
        let test = match &condition.test {
            TextTestDocument::Equals(other) => TextTest::Equals(text("test.equals", other)?),
            TextTestDocument::Differs(other) => TextTest::Differs(text("test.differs", other)?),
            TextTestDocument::StartsWith(start) => TextTest::StartsWith(text("test.starts_with", start)?),
            TextTestDocument::Contains(part) => TextTest::Contains(text("test.contains", part)?),
            TextTestDocument::In(members) => {
                let members = self.each("test.in", members, Self::value_text)?;
                self.at("test.in", |reader| reader.valid(TextTest::one_of(members)))?
            }
            TextTestDocument::Matches(glob) => {
                TextTest::Matches(self.at("test.matches", |reader| reader.valid(TextGlob::parse(glob)))?)
            }
        };
        Some(Condition::Text(operand, test))
    }

    fn test(&mut self, test: &TestDocument) -> Option<Test> {
        let steps = self.each("steps", &test.steps, Self::step)?;
        Some(Test { name: test.name.clone(), steps })
    }

    fn step(&mut self, step: &StepDocument) -> Option<TestStep> {
        let knob = self.at("knob", |reader| reader.valid(KnobName::parse(&step.knob)));
        let mut bytes = |name: &str, text: &Option<TextDocument>| match text {
            Some(text) => self.at(name, |reader| reader.bytes(text)).map(Some),
            None => Some(None),
        };
        let (new, old, comm) = (bytes("new", &step.new), bytes("old", &step.old), bytes("comm", &step.comm));
        let expected = self.at("expect", |reader| {
            Some(match &step.expect {
                ExpectedDocument::Allow => Expected::Allow,
                ExpectedDocument::Deny(None) => Expected::Deny(None),
                ExpectedDocument::Deny(Some(errno)) => Expected::Deny(Some(reader.errno(errno)?)),
                ExpectedDocument::Set(text) => Expected::Set(reader.bytes(text)?.into()),
            })
        });
        let task = Task { uid: step.uid, gid: step.gid, comm: comm?.unwrap_or_default() };
        let knob_netns = step.netns.map(netns);
        let access = Access { knob: knob?, new: new?, old: old?, pos: step.pos, knob_netns, task };
        self.valid(TestStep::new(access, expected?))
    }

    /// All of `items`, which are the member `name` of the current path.
    pub(super) fn each<T, U>(
        &mut self,
        name: &str,
        items: &[T],
        mut read: impl FnMut(&mut Self, &T) -> Option<U>,
    ) -> Option<Vec<U>> {
        let items: Vec<Option<U>> = items
            .iter()
            .enumerate()
            .map(|(i, item)| self.at(&format!("{name}[{i}]"), |reader| read(reader, item)))
            .collect();
        items.into_iter().collect()
    }

    /// Does something at a step below the current path.
    pub(super) fn at<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let length = self.path.len();
        self.path.push_str(if length == 0 { "" } else { "." });
        self.path.push_str(step);
        let result = work(self);
        self.path.truncate(length);
        result
    }

    /// The value. An error is recorded.
    pub(super) fn valid<T>(&mut self, result: Result<T, impl Into<PolicyError>>) -> Option<T> {
        result.map_or_else(
            |error| {
                let error = error.into();
                self.error(error.to_string(), error.help())
            },
            Some,
        )
    }

    /// Records an error.
    fn error<T>(&mut self, message: impl Into<String>, help: Option<String>) -> Option<T> {
        self.errors.push(JsonDiagnostic { path: self.path.clone(), message: message.into(), help });
        None
    }
}

fn relation(relation: RelationDocument) -> Relation {
    match relation {
        RelationDocument::Less => Relation::Less,
        RelationDocument::LessOrEqual => Relation::LessOrEqual,
        RelationDocument::Equal => Relation::Equal,
        RelationDocument::NotEqual => Relation::NotEqual,
        RelationDocument::GreaterOrEqual => Relation::GreaterOrEqual,
        RelationDocument::Greater => Relation::Greater,
    }
}

fn value(value: ValueDocument) -> Value {
    match value {
        ValueDocument::New => Value::New,
        ValueDocument::Old => Value::Old,
    }
}

fn netns(netns: NetnsDocument) -> KnobNetns {
    match netns {
        NetnsDocument::Host => KnobNetns::Host,
        NetnsDocument::Other => KnobNetns::Other,
    }
}
