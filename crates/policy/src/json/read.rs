//! From documents to text of the language, with a note of which stretch came from where. Only what has been read and is
//! written anew goes into the text, so that no string of a document can become more than one name, text or number.

use std::fmt::Display;

use super::JsonError;
use super::document::{
    ActionDocument, ConditionDocument, ExpectedDocument, FallbackActionDocument, FallbackDocument,
    IntegerDocument, KindDocument, ModeDocument, OperandDocument, PolicyDocument, RangeDocument,
    RelationDocument, RuleDocument, StepDocument, TestDocument, TextConditionDocument, TextDocument,
    TextOperandDocument, TextTestDocument, ValueDocument,
};
use crate::nearest::nearest;
use crate::{
    Access, Condition, Errno, Expected, Integer, KnobName, KnobPattern, Operand, Range, Relation, Span,
    SpellingError, Task, TestStep, Text, TextGlob, TextOperand, TextTest, Value,
};

/// The text, which path of the document each stretch came from, and what could not be written.
pub(super) fn text(document: &PolicyDocument) -> (String, Vec<(Span, String)>, Vec<JsonError>) {
    let mut reader =
        Reader { text: String::new(), places: Vec::new(), path: String::new(), errors: Vec::new() };
    reader.policy(document);
    (reader.text, reader.places, reader.errors)
}

struct Reader {
    text: String,
    places: Vec<(Span, String)>,
    /// Where in the document we are.
    path: String,
    errors: Vec<JsonError>,
}

impl Reader {
    fn policy(&mut self, document: &PolicyDocument) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        self.at("name", |reader| {
            if !document.name.is_empty() && document.name.chars().all(plain) {
                reader.write(format_args!("policy {}\n", document.name));
            } else {
                reader.error(
                    "names of policies have letters, digits, `-`, `_` and `.`, and are not empty",
                    None,
                );
                reader.write("policy x\n");
            }
        });
        match document.mode {
            ModeDocument::Enforce => {}
            ModeDocument::Audit => self.write("mode audit\n"),
        }
        if !document.width_64.is_empty() {
            self.write("width 64 ");
            self.at("width_64", |reader| reader.knobs(&document.width_64));
            self.write("\n");
        }
        self.write("\n");
        self.at("defaults", |reader| {
            reader.default("read", document.defaults.read.as_ref());
            reader.default("write", document.defaults.write.as_ref());
        });
        self.write("\n");
        for (i, rule) in document.rules.iter().enumerate() {
            self.at(&format!("rules[{i}]"), |reader| reader.rule(rule));
            self.write("\n");
        }
        for (i, test) in document.tests.iter().enumerate() {
            self.at(&format!("tests[{i}]"), |reader| reader.test(test));
        }
    }

    fn default(&mut self, kind: &str, fallback: Option<&FallbackDocument>) {
        let Some(fallback) = fallback else { return };
        self.at(kind, |reader| {
            reader.write(format_args!("default {kind} "));
            reader.at("action", |reader| match &fallback.action {
                FallbackActionDocument::Allow => reader.write("allow"),
                FallbackActionDocument::Deny(errno) => reader.at("deny", |reader| reader.deny(errno)),
            });
            reader.log(fallback.log);
            reader.write("\n");
        });
    }

    fn deny(&mut self, errno: &str) {
        let errno = self.errno(errno);
        self.write(format_args!("deny({errno})"));
    }

    fn errno(&mut self, name: &str) -> Errno {
        Errno::from_name(name).unwrap_or_else(|| {
            let near = nearest(name, Errno::ALL.iter().map(|errno| errno.name()));
            self.error(
                format!("there is no errno {name:?}"),
                near.map(|near| format!("did you mean `{near}`?")),
            );
            Errno::EPERM
        })
    }

    fn log(&mut self, log: Option<bool>) {
        match log {
            None => {}
            Some(true) => self.write(" log"),
            Some(false) => self.write(" nolog"),
        }
    }

    fn rule(&mut self, rule: &RuleDocument) {
        self.at("action", |reader| match &rule.action {
            ActionDocument::Allow => reader.write("allow"),
            ActionDocument::Deny(errno) => reader.at("deny", |reader| reader.deny(errno)),
            ActionDocument::Set(_) => reader.write("set"),
            ActionDocument::Clamp(_) => reader.write("clamp"),
            ActionDocument::Ignore => reader.write("ignore"),
        });
        self.write(" ");
        self.at("kinds", |reader| reader.kinds(&rule.kinds));
        self.write(" ");
        self.at("knobs", |reader| reader.knobs(&rule.knobs));
        match &rule.action {
            ActionDocument::Set(text) => {
                self.write(" to ");
                self.at("action.set", |reader| {
                    let text = reader.bytes(text);
                    reader.write(text);
                });
            }
            ActionDocument::Clamp(ranges) => {
                self.write(" to ");
                self.at("action.clamp", |reader| {
                    reader.list("[", "]", ranges, |reader, range| {
                        let range = reader.range(range);
                        reader.write(range);
                    });
                });
            }
            ActionDocument::Allow | ActionDocument::Deny(_) | ActionDocument::Ignore => {}
        }
        if let Some(condition) = &rule.condition {
            self.write(" if ");
            self.at("condition", |reader| reader.condition(condition));
        }
        self.log(rule.log);
    }

    fn kinds(&mut self, kinds: &[KindDocument]) {
        match kinds {
            [KindDocument::Read] => self.write("read"),
            [KindDocument::Write] => self.write("write"),
            [KindDocument::Read, KindDocument::Write] | [KindDocument::Write, KindDocument::Read] => {
                self.write("read write");
            }
            _ => {
                self.error("expected \"read\", \"write\" or both", None);
                self.write("write");
            }
        }
    }

    fn knobs(&mut self, knobs: &[String]) {
        if knobs.is_empty() {
            self.error("a rule looks at one knob at least", Some("`**` matches every knob".to_owned()));
            self.write("**");
        }
        self.list("", "", knobs, |reader, knob| match KnobPattern::parse(knob) {
            Ok(pattern) => reader.write(pattern),
            Err(error) => {
                reader.spelling(error);
                reader.write("unknown");
            }
        });
    }

    fn spelling(&mut self, error: SpellingError) {
        let message = format!("{} (at byte {})", error.kind, error.span.start);
        self.error(message, error.kind.help().map(str::to_owned));
    }

    fn range(&mut self, range: &RangeDocument) -> Range {
        let mut end = |name: &str, end: Option<IntegerDocument>| {
            let mut integer = None;
            self.at(name, |reader| integer = end.map(|end| reader.integer(end)));
            integer
        };
        Range { low: end("low", range.low), high: end("high", range.high) }
    }

    fn integer(&mut self, integer: IntegerDocument) -> Integer {
        Integer::new(integer.0).unwrap_or_else(|| {
            let help = format!("integers are between {} and {}", Integer::MIN, Integer::MAX);
            self.error("this integer is beyond 64 bits", Some(help));
            Integer::from(0)
        })
    }

    fn bytes(&mut self, text: &TextDocument) -> Text {
        let hex = match text {
            TextDocument::Utf8(text) => return Text::from(text.as_str()),
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
        Text(bytes.unwrap_or_else(|| {
            self.error("expected two hexadecimal digits for each byte", None);
            Vec::new()
        }))
    }

    /// A condition that is itself in no other, or in parentheses.
    fn condition(&mut self, condition: &ConditionDocument) {
        match condition {
            ConditionDocument::All(parts) => self.at("all", |reader| reader.parts(parts, " and ")),
            ConditionDocument::Any(parts) => self.at("any", |reader| reader.parts(parts, " or ")),
            ConditionDocument::Not(negated) => self.at("not", |reader| {
                reader.write("not ");
                reader.part(negated);
            }),
            leaf => {
                if let Some(leaf) = self.leaf(leaf) {
                    self.write(leaf);
                } else {
                    self.write("uid == 0");
                }
            }
        }
    }

    fn parts(&mut self, parts: &[ConditionDocument], word: &str) {
        if parts.len() < 2 {
            self.error("expected two conditions or more", None);
        }
        if parts.is_empty() {
            self.write("uid == 0");
        }
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.write(word);
            }
            self.at(&format!("[{i}]"), |reader| reader.part(part));
        }
    }

    fn part(&mut self, part: &ConditionDocument) {
        let in_parens = matches!(part, ConditionDocument::All(_) | ConditionDocument::Any(_));
        self.write(if in_parens { "(" } else { "" });
        self.condition(part);
        self.write(if in_parens { ")" } else { "" });
    }

    /// A condition without others inside; errors have been reported if it is none.
    fn leaf(&mut self, leaf: &ConditionDocument) -> Option<Condition> {
        let before = self.errors.len();
        let condition = match leaf {
            ConditionDocument::All(_) | ConditionDocument::Any(_) | ConditionDocument::Not(_) => return None,
            ConditionDocument::Chain(chain) => {
                let first = self.inside("chain.first", |reader| reader.operand(&chain.first));
                if chain.links.is_empty() {
                    self.error("a chain has one link at least", None);
                }
                let link = |(i, link): (usize, &super::document::LinkDocument)| {
                    let path = format!("chain.links[{i}].operand");
                    (relation(link.relation), self.inside(&path, |reader| reader.operand(&link.operand)))
                };
                let links = chain.links.iter().enumerate().map(link).collect();
                Condition::Chain { first, links }
            }
            ConditionDocument::InRange(test) => {
                let operand = self.inside("in_range.operand", |reader| reader.operand(&test.operand));
                Condition::InRange(operand, self.inside("in_range.range", |reader| reader.range(&test.range)))
            }
            ConditionDocument::InSet(test) => {
                let operand = self.inside("in_set.operand", |reader| reader.operand(&test.operand));
                let members = test.members.iter().enumerate();
                let member = |(i, member): (usize, &IntegerDocument)| {
                    self.inside(&format!("in_set.members[{i}]"), |reader| reader.integer(*member))
                };
                Condition::InSet(operand, members.map(member).collect())
            }
            ConditionDocument::Text(test) => self.inside("text", |reader| reader.text_condition(test))?,
        };
        (self.errors.len() == before).then_some(condition)
    }

    fn operand(&mut self, operand: &OperandDocument) -> Operand {
        match operand {
            OperandDocument::Literal(literal) => Operand::Literal(self.integer(*literal)),
            OperandDocument::New => Operand::Only(Value::New),
            OperandDocument::Old => Operand::Only(Value::Old),
            OperandDocument::Element(element) => Operand::Element(value(element.of), element.index),
            OperandDocument::Count(of) => Operand::Count(value(*of)),
            OperandDocument::Pos => Operand::Pos,
            OperandDocument::Uid => Operand::Uid,
            OperandDocument::Gid => Operand::Gid,
        }
    }

    fn text_condition(&mut self, condition: &TextConditionDocument) -> Option<Condition> {
        let operand = match condition.operand {
            TextOperandDocument::New => TextOperand::Value(Value::New),
            TextOperandDocument::Old => TextOperand::Value(Value::Old),
            TextOperandDocument::Comm => TextOperand::Comm,
        };
        let test = match &condition.test {
            TextTestDocument::Equals(text) => TextTest::Equals(self.bytes(text)),
            TextTestDocument::Differs(text) => TextTest::Differs(self.bytes(text)),
            TextTestDocument::In(texts) => TextTest::In(texts.iter().map(|text| self.bytes(text)).collect()),
            TextTestDocument::StartsWith(text) => TextTest::StartsWith(self.bytes(text)),
            TextTestDocument::Contains(text) => TextTest::Contains(self.bytes(text)),
            TextTestDocument::Matches(glob) => match TextGlob::parse(glob) {
                Ok(glob) => TextTest::Matches(glob),
                Err(error) => {
                    self.inside("test.matches", |reader| reader.spelling(error));
                    return None;
                }
            },
        };
        Some(Condition::Text(operand, test))
    }

    fn test(&mut self, test: &TestDocument) {
        self.write("\ntest ");
        self.at("name", |reader| reader.write(Text::from(test.name.as_str())));
        self.write(" {\n");
        for (i, step) in test.steps.iter().enumerate() {
            self.at(&format!("steps[{i}]"), |reader| reader.step(step));
        }
        self.write("}\n");
    }

    fn step(&mut self, step: &StepDocument) {
        let knob = match KnobName::parse(&step.knob) {
            Ok(knob) => knob,
            Err(error) => return self.inside("knob", |reader| reader.spelling(error)),
        };
        let mut bytes = |name: &str, text: Option<&TextDocument>| {
            text.map(|text| self.inside(name, |reader| reader.bytes(text)).0)
        };
        let new = bytes("new", step.new.as_ref());
        let old = bytes("old", step.old.as_ref());
        let comm = bytes("comm", step.comm.as_ref()).unwrap_or_default();
        let task = Task { uid: step.uid, gid: step.gid, comm };
        let access = Access { knob, new, old, pos: step.pos, task };
        let expected = self.inside("expect", |reader| match &step.expect {
            ExpectedDocument::Allow => Expected::Allow,
            ExpectedDocument::Deny(errno) => {
                Expected::Deny(errno.as_deref().map(|errno| reader.errno(errno)))
            }
            ExpectedDocument::Set(text) => Expected::Set(reader.bytes(text)),
        });
        self.write(format_args!("  {}\n", TestStep { access, expected }));
    }

    fn list<T>(&mut self, open: &str, close: &str, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.write(open);
        for (i, item) in items.iter().enumerate() {
            self.write(if i > 0 { ", " } else { "" });
            self.at(&format!("[{i}]"), |reader| write(reader, item));
        }
        self.write(close);
    }

    fn write(&mut self, text: impl Display) {
        use std::fmt::Write;
        // Writing to a string never fails.
        let _ = write!(self.text, "{text}");
    }

    /// Does something further inside the document, and notes what that adds to the text.
    fn at(&mut self, step: &str, work: impl FnOnce(&mut Self)) {
        let start = self.text.len();
        let length = self.path.len();
        self.path.push_str(if length == 0 || step.starts_with('[') { "" } else { "." });
        self.path.push_str(step);
        work(self);
        self.places.push((Span::new(start, self.text.len()), self.path.clone()));
        self.path.truncate(length);
    }

    /// The same for what gives a result.
    fn inside<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(if length == 0 { "" } else { "." });
        self.path.push_str(step);
        let result = work(self);
        self.path.truncate(length);
        result
    }

    fn error(&mut self, message: impl Into<String>, help: Option<String>) {
        self.errors.push(JsonError { path: self.path.clone(), message: message.into(), help });
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
