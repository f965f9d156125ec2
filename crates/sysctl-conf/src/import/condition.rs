//! The condition that only one value meets.

use knobgate_glob::{Budget, Partition};
use knobgate_policy::limits::VALUE_MAX;
use knobgate_policy::{
    Condition, Integer, KnobPattern, ListTest, Operand, PolicyError, Relation, TextOperand, TextTest, Value,
    ValueText, Width, catalogue, known_normalisations, parse_numbers,
};

/// How a value is compared. A condition on one of these can be evaluated for every value that is compared as an earlier
/// one: text has no order, a list first asks how many numbers there are, and a number needs exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Text,
    Numbers,
    Number,
}

/// `new` is `value`, in any notation that means the same to the knobs that `pattern` matches. A value is compared as
/// numbers wherever rules can evaluate it as such, and the knobs store these numbers.
///
/// # Errors
/// The value is too long for a rule to look at.
pub(crate) fn equals(pattern: &KnobPattern, value: &str) -> Result<(Shape, Condition), PolicyError> {
    // It is written with a newline.
    if value.len() >= VALUE_MAX {
        return Err(PolicyError::TextTooLong { length: value.len() });
    }
    let numbers =
        parse_numbers(value).ok().filter(|numbers| !may_be_text(pattern) && are_stored(pattern, numbers));
    match numbers.as_deref() {
        None | Some([]) => {
            let test = TextTest::Equals(ValueText::new(value)?);
            Ok((Shape::Text, Condition::Text(TextOperand::Value(Value::New), test)))
        }
        Some([number]) if has_all(pattern, 1) => Ok((Shape::Number, is(Operand::only(Value::New), *number)?)),
        // Another count of numbers is denied all the same.
        Some(numbers) if pattern.literal().is_some() && has_all(pattern, numbers.len()) => {
            Ok((Shape::Number, Condition::List(Value::New, ListTest::equals(numbers)?)))
        }
        Some(numbers) => {
            let mut parts = vec![is(Operand::Count(Value::New), (numbers.len() as u32).into())?];
            for (index, number) in numbers.iter().enumerate() {
                parts.push(is(Operand::element(Value::New, index as i128)?, *number)?);
            }
            Ok((Shape::Numbers, Condition::all(parts)?))
        }
    }
}

/// Whether `count` numbers may be all that the knob has. If they are fewer, a write changes only these; if they are more, the knob drops
/// the rest. The rule then says how many it means.
fn has_all(pattern: &KnobPattern, count: usize) -> bool {
    catalogue::count_of_numbers(pattern).is_none_or(|all| all == count)
}

fn is(operand: Operand, number: Integer) -> Result<Condition, PolicyError> {
    Condition::chain(operand, [(Relation::Equal, Operand::Literal(number))])
}

/// Whether a knob that `pattern` might match reads what is written as text.
fn may_be_text(pattern: &KnobPattern) -> bool {
    let texts = known_normalisations().iter().filter(|(_, how)| how.is_text());
    texts.map(|(known, _)| known).any(|known| match pattern.literal() {
        Some(name) => known.matches(name),
        None => may_match_the_same(pattern, known),
    })
}

/// Whether every knob that `pattern` might match stores `numbers` unchanged. Others cannot be compared as numbers.
fn are_stored(pattern: &KnobPattern, numbers: &[Integer]) -> bool {
    let is_inside = |width: Width| numbers.iter().all(|number| width.contains(*number));
    match pattern.literal() {
        Some(name) => is_inside(Width::known(name).unwrap_or_default()),
        None => {
            let known = Width::all_known().iter().filter(|(known, _)| may_match_the_same(pattern, known));
            let mut widths = known.map(|(_, width)| *width).chain([Width::default()]);
            widths.all(is_inside)
        }
    }
}

/// How much work it may be to find out whether two patterns overlap.
const STEPS_MAX: usize = 1 << 16;

/// Whether there may be a name that both match.
fn may_match_the_same(pattern: &KnobPattern, known: &KnobPattern) -> bool {
    if let Some(name) = known.literal() {
        return pattern.matches(name);
    }
    let both = [pattern.pieces(), known.pieces()];
    let match_both = |matching: &[usize]| matching.len() == both.len();
    match Partition::new(&both, &mut Budget::steps(STEPS_MAX), match_both, |_, _, _| false) {
        Ok(partition) => {
            partition.classes().zip(partition.inhabited()).any(|(both, inhabited)| *both && inhabited)
        }
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_the_knob_reads_them() {
        for (pattern, value, condition) in [
            ("vm.swappiness", "10", "new == 10"),
            ("kernel.sysrq", "0x10", "new == 16"),
            ("kernel.sysrq", "020", "new == 16"),
            ("kernel.sched_rt_runtime_us", "-1", "new == -1"),
            ("net.ipv4.tcp_rmem", "4096\t131072  6291456", "new == [4096, 131072, 6291456]"),
            (
                "net.ipv4.tcp_?mem",
                "4096\t131072  6291456",
                "count(new) == 3 and new[0] == 4096 and new[1] == 131072 and new[2] == 6291456",
            ),
            // The other numbers stay as they are, and the rule says that it means that.
            ("kernel.printk", "3", "count(new) == 1 and new[0] == 3"),
            ("net.ipv4.tcp_rmem", "4096 131072", "count(new) == 2 and new[0] == 4096 and new[1] == 131072"),
            ("kernel.core_pattern", "|/bin/x %p", "new == \"|/bin/x %p\""),
            ("kernel.core_pattern", "core\t\"1\"\\", r#"new == "core\t\"1\"\\""#),
            ("kernel.modprobe", "", "new == \"\""),
            ("vm.swappiness", "08", "new == \"08\""),
            ("vm.swappiness", "+1", "new == \"+1\""),
            ("net.ipv4.ip_local_reserved_ports", "8080,9148", "new == \"8080,9148\""),
            ("kernel.sem", "1 2 3 4 5 6 7 8 9", "new == \"1 2 3 4 5 6 7 8 9\""),
            // These are no numbers, so that another notation of the number is another text.
            ("kernel.hostname", "10", "new == \"10\""),
            ("kernel.core_pattern", "10", "new == \"10\""),
            ("net.ipv4.tcp_congestion_control", "1 2", "new == \"1 2\""),
            ("kernel.*name", "10", "new == \"10\""),
            ("net.**", "10", "new == \"10\""),
            // A mask is hexadecimal.
            ("net.core.flow_limit_cpu_bitmap", "10", "new == \"10\""),
            // These knobs store other numbers, and a rule on numbers would deny.
            ("net.ipv4.icmp_ratelimit", "4294967296", "new == \"4294967296\""),
            ("vm.dirty_bytes", "-1", "new == \"-1\""),
            ("kernel.shmmax", "18446744073692774399", "new == 18446744073692774399"),
            ("vm.*_bytes", "-1", "new == \"-1\""),
            ("kernel.shm*", "18446744073692774399", "new == \"18446744073692774399\""),
            ("net.ipv4.conf.*.rp_filter", "-1", "new == -1"),
            ("net.ipv4.neigh.*.locktime", "300000000", "new == \"300000000\""),
        ] {
            let pattern = KnobPattern::parse(pattern).unwrap();
            assert_eq!(equals(&pattern, value).unwrap().1.to_string(), condition, "{pattern} = {value}");
        }
    }

    #[test]
    fn a_value_that_no_rule_can_look_at_is_an_error() {
        let pattern = KnobPattern::parse("kernel.core_pattern").unwrap();
        assert!(equals(&pattern, &"x".repeat(VALUE_MAX - 1)).is_ok());
        assert!(equals(&pattern, &"x".repeat(VALUE_MAX)).is_err());
    }
}
