//! From policies to documents.

use super::document::RangesConditionDocument;
use super::document::{
    ActionDocument, ChainDocument, ConditionDocument, DefaultsDocument, ElementDocument, EventRateDocument,
    ExpectedDocument, FallbackActionDocument, FallbackDocument, HexDocument, InRangeDocument, InSetDocument,
    IntegerDocument, KindDocument, LinkDocument, ListConditionDocument, ListTestDocument, LogDocument,
    MaskedDocument, MemberDocument, ModeDocument, NetnsDocument, OperandDocument, PolicyDocument,
    RangeDocument, RelationDocument, RuleDocument, StepDocument, TestDocument, TextConditionDocument,
    TextDocument, TextOperandDocument, TextTestDocument, UnlimitedDocument, ValueDocument,
};
use super::selector::selector;
use crate::{
    Action, Condition, Elements, Expected, Fallback, FallbackAction, Integer, Kinds, KnobNetns, ListTest,
    Logging, Mode, Operand, Policy, Range, Relation, Rule, Test, TestStep, TextOperand, TextTest, Value,
};

impl From<&Policy> for PolicyDocument {
    fn from(policy: &Policy) -> Self {
        Self {
            schema: None,
            name: policy.name().to_owned(),
            mode: match policy.mode() {
                Mode::Enforce => ModeDocument::Enforce,
                Mode::Audit => ModeDocument::Audit,
            },
            defaults: DefaultsDocument {
                read: Some(fallback(&policy.defaults().read)),
                write: Some(fallback(&policy.defaults().write)),
            },
            rules: policy.rules().iter().map(rule).collect(),
            tests: policy.tests().iter().map(test).collect(),
            width_64: policy.width_64().iter().map(ToString::to_string).collect(),
            apply_if: policy.apply_if().iter().map(selector).collect(),
        }
    }
}

fn fallback(fallback: &Fallback) -> FallbackDocument {
    let action = match fallback.action {
        FallbackAction::Allow => FallbackActionDocument::Allow,
        FallbackAction::Deny(errno) => FallbackActionDocument::Deny(errno.to_string()),
    };
    FallbackDocument { action, log: fallback.log.map(logging) }
}

fn rule(rule: &Rule) -> RuleDocument {
    RuleDocument {
        action: match rule.action() {
            Action::Allow => ActionDocument::Allow,
            Action::Deny(errno) => ActionDocument::Deny(errno.to_string()),
            Action::Set(replacement) => ActionDocument::Set(text(replacement.as_bytes())),
            Action::Clamp(ranges) => ActionDocument::Clamp(ranges.iter().map(range).collect()),
            Action::Ignore => ActionDocument::Ignore,
        },
        kinds: match rule.kinds() {
            Kinds::Read => vec![KindDocument::Read],
            Kinds::Write => vec![KindDocument::Write],
            Kinds::Both => vec![KindDocument::Read, KindDocument::Write],
        },
        knobs: rule.patterns().iter().map(ToString::to_string).collect(),
        condition: rule.condition().map(condition),
        log: rule.log().map(logging),
    }
}

fn logging(logging: Logging) -> LogDocument {
    match logging {
        Logging::Never => LogDocument::Default(false),
        Logging::DEFAULT => LogDocument::Default(true),
        Logging::Limited(rate) => {
            LogDocument::Limited(EventRateDocument { per_second: rate.get().get().into() })
        }
        Logging::All => LogDocument::Unlimited(UnlimitedDocument::All),
    }
}

fn range(range: &Range) -> RangeDocument {
    RangeDocument { low: range.low().map(integer), high: range.high().map(integer) }
}

fn member(member: &Range) -> MemberDocument {
    match member.only_member() {
        Some(only) => MemberDocument::Integer(integer(only)),
        None => MemberDocument::Range(range(member)),
    }
}

fn integer(integer: Integer) -> IntegerDocument {
    IntegerDocument(integer.get())
}

pub(super) fn text(bytes: &[u8]) -> TextDocument {
    match str::from_utf8(bytes) {
        Ok(text) => TextDocument::Utf8(text.to_owned()),
        Err(_) => {
            TextDocument::Hex(HexDocument { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() })
        }
    }
}

fn condition(part: &Condition) -> ConditionDocument {
    match part {
        Condition::All(parts) => ConditionDocument::All(parts.iter().map(condition).collect()),
        Condition::Any(parts) => ConditionDocument::Any(parts.iter().map(condition).collect()),
        Condition::Not(negated) => ConditionDocument::Not(Box::new(condition(negated))),
        Condition::Chain(chain) => {
            let link = |(relation, other): &(Relation, Operand)| LinkDocument {
                relation: relation_document(*relation),
                operand: operand(*other),
            };
            ConditionDocument::Chain(ChainDocument {
                first: operand(chain.first()),
                links: chain.links().iter().map(link).collect(),
            })
        }
        Condition::InRange(test) => ConditionDocument::InRange(InRangeDocument {
            operand: operand(test.operand()),
            range: range(&test.range()),
        }),
        Condition::InSet(test) => {
            let members = test.members().iter().map(member).collect();
            ConditionDocument::InSet(InSetDocument { operand: operand(test.operand()), members })
        }
        Condition::List(of, test) => {
            let integers = |numbers: &[Integer]| numbers.iter().copied().map(integer).collect();
            let test = match test {
                ListTest::Equals(numbers) => ListTestDocument::Equals(integers(numbers)),
                ListTest::Differs(numbers) => ListTestDocument::Differs(integers(numbers)),
                ListTest::In(ranges) => ListTestDocument::In(ranges.iter().map(member).collect()),
            };
            ConditionDocument::List(ListConditionDocument { of: value(*of), test })
        }
        Condition::Ranges(test) => ConditionDocument::Ranges(RangesConditionDocument {
            of: value(test.value()),
            members: test.members().iter().map(member).collect(),
        }),
        Condition::Text(subject, test) => {
            let operand = match subject {
                TextOperand::Value(Value::New) => TextOperandDocument::New,
                TextOperand::Value(Value::Old) => TextOperandDocument::Old,
                TextOperand::Comm => TextOperandDocument::Comm,
            };
            ConditionDocument::Text(TextConditionDocument { operand, test: text_test(test) })
        }
        Condition::Netns(of) => ConditionDocument::Netns(netns(*of)),
    }
}

fn netns(netns: KnobNetns) -> NetnsDocument {
    match netns {
        KnobNetns::Host => NetnsDocument::Host,
        KnobNetns::Other => NetnsDocument::Other,
    }
}

fn relation_document(relation: Relation) -> RelationDocument {
    match relation {
        Relation::Less => RelationDocument::Less,
        Relation::LessOrEqual => RelationDocument::LessOrEqual,
        Relation::Equal => RelationDocument::Equal,
        Relation::NotEqual => RelationDocument::NotEqual,
        Relation::GreaterOrEqual => RelationDocument::GreaterOrEqual,
        Relation::Greater => RelationDocument::Greater,
    }
}

fn operand(operand: Operand) -> OperandDocument {
    match operand {
        Operand::Literal(literal) => OperandDocument::Literal(integer(literal)),
        Operand::Number(of, elements, Some(mask)) => {
            let operand = Box::new(self::operand(Operand::Number(of, elements, None)));
            OperandDocument::Masked(MaskedDocument { operand, mask: IntegerDocument(mask.get().into()) })
        }
        Operand::Number(Value::New, Elements::Only, None) => OperandDocument::New,
        Operand::Number(Value::Old, Elements::Only, None) => OperandDocument::Old,
        Operand::Number(of, Elements::At(index), None) => {
            OperandDocument::Element(ElementDocument { of: value(of), index: index.get() })
        }
        Operand::Number(of, Elements::Each, None) => OperandDocument::Each(value(of)),
        Operand::Count(of) => OperandDocument::Count(value(of)),
        Operand::Pos => OperandDocument::Pos,
        Operand::Uid => OperandDocument::Uid,
        Operand::Gid => OperandDocument::Gid,
    }
}

fn value(value: Value) -> ValueDocument {
    match value {
        Value::New => ValueDocument::New,
        Value::Old => ValueDocument::Old,
    }
}

fn text_test(test: &TextTest) -> TextTestDocument {
    match test {
        TextTest::Equals(other) => TextTestDocument::Equals(text(other.as_bytes())),
        TextTest::Differs(other) => TextTestDocument::Differs(text(other.as_bytes())),
        TextTest::In(members) => {
            TextTestDocument::In(members.iter().map(|member| text(member.as_bytes())).collect())
        }
        TextTest::Matches(glob) => TextTestDocument::Matches(glob.to_string()),
        TextTest::StartsWith(start) => TextTestDocument::StartsWith(text(start.as_bytes())),
        TextTest::Contains(part) => TextTestDocument::Contains(text(part.as_bytes())),
    }
}

fn test(test: &Test) -> TestDocument {
    TestDocument { name: test.name.clone(), steps: test.steps.iter().map(step).collect() }
}

fn step(step: &TestStep) -> StepDocument {
    let access = step.access();
    StepDocument {
        knob: access.knob.to_string(),
        new: access.new.as_deref().map(text),
        old: access.old.as_deref().map(text),
        pos: access.pos,
        uid: access.task.uid,
        gid: access.task.gid,
        comm: Some(&access.task.comm).filter(|comm| !comm.is_empty()).map(|comm| text(comm)),
        netns: access.knob_netns.map(netns),
        expect: match step.expected() {
            Expected::Allow => ExpectedDocument::Allow,
            Expected::Deny(errno) => ExpectedDocument::Deny(errno.map(|errno| errno.to_string())),
            Expected::Set(bytes) => ExpectedDocument::Set(text(bytes.as_bytes())),
        },
    }
}
