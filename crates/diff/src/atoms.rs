//! What the rules for a set of names look at.

use std::collections::BTreeSet;

use knobgate_policy::{
    Action, Condition, Elements, Integer, Operand, Range, Relation, Rule, TextOperand, TextTest, Value, Width,
};

use crate::region::Subject;

/// What conditions and actions ask about accesses. Each of its parts divides one subject's values.
#[derive(Debug, Default)]
pub(crate) struct Atoms<'a> {
    pub(crate) new: ValueAtoms<'a>,
    pub(crate) old: ValueAtoms<'a>,
    pub(crate) comm: ValueAtoms<'a>,
    /// For `pos`, `uid` and `gid`: the numbers between which it makes a difference; `None` if it makes none.
    pub(crate) pos: Option<Cuts>,
    pub(crate) uid: Option<Cuts>,
    pub(crate) gid: Option<Cuts>,
    /// The network namespace of the knob makes a difference.
    pub(crate) has_netns: bool,
    /// The numbers that are compared with each other; of values of several numbers with the index.
    pub(crate) related: BTreeSet<(Subject, Option<u8>)>,
    /// The lengths from which a replacement fits.
    pub(crate) lengths: BTreeSet<usize>,
    /// The texts of `set`, and the bounds of `clamp`.
    replacements: BTreeSet<Vec<u8>>,
    /// A rule writes the current value again.
    pub(crate) ignores: bool,
    /// A rule clamps several numbers, compares each of them or how many there are with another number, or looks at one of
    /// several where a rule may write the current value.
    pub(crate) has_several_numbers: bool,
    /// A rule looks at some bits of a number.
    pub(crate) has_masks: bool,
    /// A rule takes a value as a set of numbers.
    pub(crate) has_ranges: bool,
}

/// Numbers that differ from those before them.
pub(crate) type Cuts = BTreeSet<i128>;

/// What is asked about a value.
#[derive(Debug, Default)]
pub(crate) struct ValueAtoms<'a> {
    /// It makes a difference at all.
    pub(crate) is_used: bool,
    /// It is parsed as numbers.
    pub(crate) has_numbers: bool,
    pub(crate) cuts: Cuts,
    /// The texts that it is compared with.
    pub(crate) texts: BTreeSet<Vec<u8>>,
    /// The indices of the numbers that rules look at, among several.
    pub(crate) elements: BTreeSet<u8>,
    /// How many numbers it holds makes a difference.
    pub(crate) is_counted: bool,
    /// Other tests of its text.
    pub(crate) tests: Vec<&'a TextTest>,
}

impl<'a> Atoms<'a> {
    /// What these rules look at; the knob has one of these widths.
    pub(crate) fn of(rules: impl IntoIterator<Item = &'a Rule>, widths: [Width; 2]) -> Self {
        let mut atoms = Self::default();
        for rule in rules {
            if let Some(condition) = rule.condition() {
                atoms.condition(condition);
            }
            atoms.action(rule.action());
        }
        if atoms.new.has_numbers {
            atoms.new.cuts.extend(widths.iter().flat_map(|width| ends(&width.range())));
        }
        if atoms.new.is_used {
            atoms.pos.get_or_insert_default().extend([0, 1]);
        }
        if atoms.ignores {
            atoms.share();
        }
        if !atoms.related.is_empty() {
            atoms.relate();
        }
        atoms
    }

    /// A rule may write the current value: what is asked about one value divides the other, too, and it matters whether
    /// they are equal.
    fn share(&mut self) {
        self.related.extend([(Subject::New, None), (Subject::Old, None)]);
        let is_list = |value: &ValueAtoms<'_>| value.is_counted || !value.elements.is_empty();
        self.has_several_numbers |= is_list(&self.new) || is_list(&self.old);
        self.old.texts.append(&mut self.replacements);
        self.lengths.extend(self.old.texts.iter().map(Vec::len));
        let has_numbers = self.new.has_numbers || self.old.has_numbers;
        let cuts: Cuts = self.new.cuts.union(&self.old.cuts).copied().collect();
        let texts: BTreeSet<Vec<u8>> = self.new.texts.union(&self.old.texts).cloned().collect();
        let tests: Vec<&TextTest> = self.new.tests.iter().chain(&self.old.tests).copied().collect();
        for value in [&mut self.new, &mut self.old] {
            value.has_numbers = has_numbers;
            value.cuts.clone_from(&cuts);
            value.texts.clone_from(&texts);
            value.tests.clone_from(&tests);
        }
    }

    /// Numbers that are compared with each other are divided at the same places.
    fn relate(&mut self) {
        let ids = [&self.pos, &self.uid, &self.gid].into_iter().flatten();
        let all = ids.chain([&self.new.cuts, &self.old.cuts]).flatten().copied();
        let cuts: Cuts = all.chain([0, 1 << 32]).collect();
        self.new.cuts.extend(&cuts);
        self.old.cuts.extend(&cuts);
        for id in [&mut self.pos, &mut self.uid, &mut self.gid].into_iter().flatten() {
            id.extend(&cuts);
        }
    }

    fn condition(&mut self, condition: &'a Condition) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().for_each(|part| self.condition(part));
            }
            Condition::Not(negated) => self.condition(negated),
            Condition::Chain(chain) => {
                chain.operands().for_each(|operand| self.cut(operand, []));
                for (left, (relation, right)) in chain.operands().zip(chain.links()) {
                    match (left, *right) {
                        (Operand::Literal(literal), operand) => {
                            self.cut(operand, between(literal, reversed(*relation)));
                        }
                        (operand, Operand::Literal(literal)) => {
                            self.cut(operand, between(literal, *relation));
                        }
                        (one, other) => match (subject(one), subject(other)) {
                            (Some(one), Some(other)) => self.related.extend([one, other]),
                            _ => self.has_several_numbers = true,
                        },
                    }
                }
            }
            Condition::InRange(test) => self.cut(test.operand(), ends(&test.range())),
            Condition::InSet(test) => self.cut(test.operand(), test.members().iter().flat_map(ends)),
            Condition::List(value, test) => {
                for (index, range) in (0..).zip(test.ranges()) {
                    // There are no more ranges than a value has numbers.
                    let Ok(operand) = Operand::element(*value, index) else { continue };
                    self.cut(operand, ends(&range));
                }
                self.cut(Operand::Count(*value), []);
            }
            Condition::Ranges(test) => {
                self.has_ranges = true;
                match test.value() {
                    Value::New => self.new.is_used = true,
                    Value::Old => self.old.is_used = true,
                }
            }
            Condition::Netns(_) => self.has_netns = true,
            Condition::Text(operand, test) => {
                let atoms = match operand {
                    TextOperand::Value(Value::New) => &mut self.new,
                    TextOperand::Value(Value::Old) => &mut self.old,
                    TextOperand::Comm => &mut self.comm,
                };
                atoms.is_used = true;
                match test {
                    TextTest::Equals(text) | TextTest::Differs(text) => {
                        atoms.texts.insert(text.as_bytes().to_vec());
                    }
                    TextTest::In(texts) => {
                        atoms.texts.extend(texts.iter().map(|text| text.as_bytes().to_vec()));
                    }
                    TextTest::Matches(_) | TextTest::StartsWith(_) | TextTest::Contains(_) => {
                        atoms.tests.push(test);
                    }
                }
            }
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Allow | Action::Deny(_) => {}
            Action::Set(text) => {
                self.new.is_used = true;
                self.new.texts.insert(text.as_bytes().to_vec());
                self.replacement(text.as_bytes());
            }
            Action::Ignore => {
                self.new.is_used = true;
                self.old.is_used = true;
                self.ignores = true;
            }
            Action::Clamp(ranges) => {
                self.new.is_used = true;
                self.new.has_numbers = true;
                if ranges.len() > 1 {
                    self.has_several_numbers = true;
                    self.new.elements.extend(0..ranges.len() as u8);
                }
                for range in ranges {
                    self.new.cuts.extend(ends(range));
                    for bound in [range.low(), range.high()].into_iter().flatten() {
                        self.replacement(bound.to_string().as_bytes());
                    }
                }
            }
        }
    }

    /// A text that one policy may write while the other one writes something else, perhaps the same.
    fn replacement(&mut self, text: &[u8]) {
        self.lengths.insert(text.len());
        self.replacements.insert(text.to_vec());
        let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok()).and_then(Integer::new);
        self.new.cuts.extend(number.into_iter().flat_map(around));
    }

    fn cut(&mut self, operand: Operand, cuts: impl IntoIterator<Item = i128>) {
        let value = |atoms: &mut ValueAtoms<'_>| {
            atoms.is_used = true;
            atoms.has_numbers = true;
        };
        let atoms = match operand {
            Operand::Literal(_) => return,
            Operand::Pos => return self.pos.get_or_insert_default().extend(cuts),
            Operand::Uid => return self.uid.get_or_insert_default().extend(cuts),
            Operand::Gid => return self.gid.get_or_insert_default().extend(cuts),
            Operand::Number(Value::New, ..) | Operand::Count(Value::New) => &mut self.new,
            Operand::Number(Value::Old, ..) | Operand::Count(Value::Old) => &mut self.old,
        };
        value(atoms);
        let Operand::Number(_, elements, mask) = operand else {
            atoms.is_counted = true;
            return;
        };
        match mask {
            None => atoms.cuts.extend(cuts),
            // A number with the lowest of the bits, one with the next, and so on.
            Some(mask) => {
                self.has_masks = true;
                let bits = (0..u64::BITS).filter(|bit| mask.get() & (1 << bit) != 0);
                atoms.cuts.extend(bits.flat_map(|bit| [1 << bit, 2 << bit]).chain([0]));
            }
        }
        match elements {
            Elements::Only => {}
            Elements::At(index) => {
                atoms.elements.insert(index.get());
            }
            Elements::Each => {
                self.has_several_numbers = true;
                atoms.elements.extend([0, 1]);
                atoms.is_counted = true;
            }
        }
    }
}

/// The subject that has this number, and its index among several; `None` for a count.
fn subject(operand: Operand) -> Option<(Subject, Option<u8>)> {
    let of_value = |value| match value {
        Value::New => Subject::New,
        Value::Old => Subject::Old,
    };
    match operand {
        Operand::Number(value, Elements::Only, None) => Some((of_value(value), None)),
        Operand::Number(value, Elements::At(index), None) => Some((of_value(value), Some(index.get()))),
        Operand::Pos => Some((Subject::Pos, None)),
        Operand::Uid => Some((Subject::Uid, None)),
        Operand::Gid => Some((Subject::Gid, None)),
        Operand::Number(..) | Operand::Literal(_) | Operand::Count(_) => None,
    }
}

/// Where it changes whether a number has this relation to `literal`.
fn between(literal: Integer, relation: Relation) -> Vec<i128> {
    let [start, end] = around(literal);
    match relation {
        Relation::Less | Relation::GreaterOrEqual => vec![start],
        Relation::LessOrEqual | Relation::Greater => vec![end],
        Relation::Equal | Relation::NotEqual => vec![start, end],
    }
}

/// The relation of the right side to the left one.
fn reversed(relation: Relation) -> Relation {
    match relation {
        Relation::Less => Relation::Greater,
        Relation::LessOrEqual => Relation::GreaterOrEqual,
        Relation::Greater => Relation::Less,
        Relation::GreaterOrEqual => Relation::LessOrEqual,
        Relation::Equal | Relation::NotEqual => relation,
    }
}

fn around(number: Integer) -> [i128; 2] {
    [number.get(), number.get() + 1]
}

fn ends(range: &Range) -> impl Iterator<Item = i128> + use<> {
    let (low, high) = (range.low(), range.high());
    low.map(Integer::get).into_iter().chain(high.map(|high| high.get() + 1))
}
