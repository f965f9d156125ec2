//! The IR as text.

use std::fmt;

use knobgate_policy::AccessKind;

use super::{
    Action, Automaton, Bound, Constant, Ir, NamedStep, Next, Number, NumberSet, Operand, OtherComponents,
    OtherNames, Plan, Rule, Slot, Sorted, Step, StepId, Subject, TableContents, Test, TextTest,
};

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, plan) in AccessKind::ALL.into_iter().zip(&self.plans) {
            writeln!(f, "{kind}:")?;
            self.plan(plan, f)?;
        }
        writeln!(f, "steps:")?;
        for (id, step) in self.reached_steps() {
            self.step(id, step, f)?;
        }
        Ok(())
    }
}

impl Ir {
    fn plan(&self, plan: &Plan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = match plan {
            Plan::AnyName(step) => return writeln!(f, "  every name -> {}", step.0),
            Plan::ByName(plan) => plan,
        };
        for NamedStep { name, step } in &plan.literals {
            writeln!(f, "  {} -> {}", name.escape_ascii(), step.0)?;
        }
        match &plan.others {
            OtherNames::Same(step) => writeln!(f, "  other names -> {}", step.0)?,
            OtherNames::Prefixes { prefixes, otherwise } => {
                for NamedStep { name, step } in prefixes {
                    writeln!(f, "  {}... -> {}", name.escape_ascii(), step.0)?;
                }
                writeln!(f, "  other names -> {}", otherwise.0)?;
            }
            OtherNames::Dfa(dfa) => {
                let steps = plan.others.steps();
                let steps: Vec<String> = steps.into_iter().map(|step| step.0.to_string()).collect();
                writeln!(
                    f,
                    "  other names -> {} by a DFA of {} states",
                    steps.join(" or "),
                    dfa.states().count()
                )?;
            }
        }
        for NamedStep { name, step } in &plan.by_last_component.known {
            writeln!(f, "  too long, and ends in {} -> {}", name.escape_ascii(), step.0)?;
        }
        match plan.by_last_component.others {
            OtherComponents::Decided(step) => writeln!(f, "  ends in something else -> {}", step.0),
            OtherComponents::NeedName(step) => writeln!(f, "  too long -> {}", step.0),
        }
    }

    fn step(&self, id: StepId, step: Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |f: &mut fmt::Formatter<'_>| match step.next() {
            Some(next) => writeln!(f, ", else {}", next.0),
            None => writeln!(f),
        };
        match step {
            Step::Default(kind) => writeln!(f, "  {}: default {kind}: {}", id.0, self.action_text(step)),
            Step::NameTooLong { rule } => writeln!(f, "  {}: rule {rule}: {}", id.0, self.action_text(step)),
            Step::Rule { rule, width, .. } => {
                write!(f, "  {}: rule {rule}", id.0)?;
                if let Some(width) = width {
                    write!(f, " ({width:?})")?;
                }
                write!(f, ": {}", self.action_text(step))?;
                after(f)?;
                self.rule(step).map_or(Ok(()), |rule| self.graph(rule, f))
            }
        }
    }

    fn action_text(&self, step: Step) -> String {
        let constants = self.rule(step).map_or(&[][..], |rule| &rule.action_constants);
        ConstantPrinter { constants, tables: &self.tables }.action(self.action(step))
    }

    fn graph(&self, rule: &Rule, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let constants = ConstantPrinter { constants: &rule.graph_constants, tables: &self.tables };
        let next = |next| match next {
            Next::Node(node) => format!("n{node}"),
            Next::Holds => "holds".to_owned(),
            Next::Fails => "fails".to_owned(),
        };
        for (index, node) in rule.graph.nodes().iter().enumerate() {
            let test = constants.test(&node.test);
            writeln!(f, "    n{index}: {test} ? {} : {}", next(node.holds), next(node.fails))?;
        }
        Ok(())
    }
}

/// `new`, `new[1]`, or `new[1 of 3]`
fn number_text(Number { value, index, least, most }: Number) -> String {
    let value = format!("{value:?}").to_lowercase();
    match (least, most) {
        (1, 1) => value,
        (least, most) if least == most => format!("{value}[{index} of {most}]"),
        _ => format!("{value}[{index}]"),
    }
}

/// Prints tests and actions with the constants instead of their slots.
struct ConstantPrinter<'a> {
    constants: &'a [Constant],
    tables: &'a TableContents,
}

impl ConstantPrinter<'_> {
    fn test(&self, test: &Test) -> String {
        match test {
            Test::Compare { left, relation, right } => {
                format!("{} {} {}", self.operand(*left), relation, self.operand(*right))
            }
            Test::Member { operand, set: NumberSet { nonnegative, negative } } => {
                let count = |sorted: &Option<Sorted>| {
                    sorted.map_or(0, |Sorted { offset, .. }| match self.constants[offset.0] {
                        Constant::SortedAt(index) => self.tables.sorted[index].len(),
                        _ => 0,
                    })
                };
                format!("{} in a table of {}", self.operand(*operand), count(nonnegative) + count(negative))
            }
            Test::Ranges { value, automaton } => {
                format!("ranges({value:?}) in {}", self.automaton(*automaton)).to_lowercase()
            }
            Test::Text { subject, test } => {
                let subject = match subject {
                    Subject::Value(value) => format!("text of {value:?}").to_lowercase(),
                    Subject::Comm => "comm".to_owned(),
                };
                match test {
                    TextTest::Equals(bytes) => {
                        format!("{subject} == \"{}\"", self.bytes(bytes.first, bytes.len))
                    }
                    TextTest::StartsWith(bytes) => {
                        format!("{subject} starts with \"{}\"", self.bytes(bytes.first, bytes.len))
                    }
                    TextTest::Matches(automaton) => {
                        format!("{subject} matches {}", self.automaton(*automaton))
                    }
                }
            }
        }
    }

    fn automaton(&self, automaton: Automaton) -> String {
        match self.constants[automaton.classes.0] {
            Constant::ClassesAt(index) => format!("text DFA {index}"),
            _ => String::new(),
        }
    }

    fn action(&self, action: &Action) -> String {
        match action {
            Action::Allow => "allow".to_owned(),
            Action::Deny(errno) => format!("deny({errno})"),
            Action::CannotEvaluate => "cannot be evaluated".to_owned(),
            Action::Set(text) => format!("set {:?}", self.text(text.first, text.len)),
            Action::SetLong(at) => match self.constants[at.0] {
                Constant::TextAt(index) => format!("set text {index}"),
                _ => String::new(),
            },
            Action::Ignore => "ignore".to_owned(),
            Action::ClampOne(bounds) => format!("clamp to {}", self.bounds(bounds)),
            Action::ClampEach(each) => {
                let each: Vec<String> = each.iter().map(|bounds| self.bounds(bounds)).collect();
                format!("clamp to [{}]", each.join(", "))
            }
        }
    }

    fn bounds(&self, bounds: &[Bound]) -> String {
        let bound = |bound: &Bound| {
            let Constant::Word(len) = self.constants[bound.len.0] else { return String::new() };
            let decimal = self.bytes(bound.decimal.first, len as usize);
            assert_eq!(decimal, self.operand(Operand::Constant(bound.end)));
            format!("{} {decimal}{}", bound.inside, if bound.is_stored { "" } else { " (not stored)" })
        };
        bounds.iter().map(bound).collect::<Vec<_>>().join(" and ")
    }

    /// Bytes that zeros follow.
    fn text(&self, first: Slot, len: usize) -> String {
        self.bytes(first, len).trim_end_matches("\\x00").to_owned()
    }

    fn operand(&self, operand: Operand) -> String {
        match operand {
            Operand::Constant(integer) => match self.constants[integer.slot.0] {
                Constant::Word(bits) if integer.is_negative => (bits as i64).to_string(),
                Constant::Word(bits) => bits.to_string(),
                _ => String::new(),
            },
            Operand::Number(number) => number_text(number),
            Operand::Masked(number, mask) => match self.constants[mask.0] {
                Constant::Word(mask) => format!("{} & {mask:#x}", number_text(number)),
                _ => String::new(),
            },
            Operand::Count(value) => format!("count({value:?})").to_lowercase(),
            Operand::Position => "pos".to_owned(),
            Operand::Uid => "uid".to_owned(),
            Operand::Gid => "gid".to_owned(),
            Operand::KnobNetns => "netns".to_owned(),
        }
    }

    fn bytes(&self, first: Slot, len: usize) -> String {
        let words = self.constants[first.0..].iter().flat_map(|constant| match constant {
            Constant::Word(word) => word.to_le_bytes(),
            _ => [0; 8],
        });
        words.take(len).collect::<Vec<u8>>().escape_ascii().to_string()
    }
}
