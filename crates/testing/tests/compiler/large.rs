//! Policies that are too much for the verifier with their conditions inlined.

use std::fmt::Write as _;

use knobgate_policy::Access;
use proptest::sample::Index;

use crate::knobs::{KNOBS, TestKnob};

/// Changes an access to the knob so that rules match it. The index selects how.
pub(crate) type Aim = fn(&mut Access, &TestKnob, Index);

/// A policy.
pub(crate) struct Large {
    pub text: String,
    pub aim: Aim,
}

/// How many operands conditions have, other than the one that finds the rule.
const OPERANDS: usize = 12;

/// For how many knobs there are rules with different conditions. It has no factor in common with the number of actions, so that each knob
/// has rules of all kinds.
const DIFFERENT_KNOBS: usize = 23;

/// A rule for every way to connect so many operands by `and` and `or`.
pub(crate) fn different_conditions() -> Large {
    let mut text = "policy different\ndefault write deny\n".to_owned();
    for rule in 0..1 << OPERANDS {
        let connected = (0..OPERANDS).fold("gid == 0".to_owned(), |inner, operand| {
            if rule >> operand & 1 == 0 {
                format!("({inner} or gid == {operand} and pos < {rule})")
            } else {
                format!("({inner} and not comm in {{\"c{operand}\", \"c{rule}\"}})")
            }
        });
        let knob = KNOBS[rule % DIFFERENT_KNOBS].name.replace('.', "/");
        let (action, to) = match rule % 4 {
            0 => ("allow read write", String::new()),
            1 => ("deny(EROFS) read write", String::new()),
            2 => ("set write", format!(" to \"{}\"", rule % 10)),
            _ => ("clamp write", format!(" to 1..{rule}")),
        };
        let _ = writeln!(text, "{action} {knob}{to} if uid == {rule} and {connected}");
    }
    let aim = |access: &mut Access, knob: &TestKnob, index: Index| {
        let first = KNOBS.iter().position(|other| other.name == knob.name).unwrap_or(0);
        let number = index.index(1 << 20);
        access.task.uid = (first + number % 215 * DIFFERENT_KNOBS) as u32;
        access.task.gid = (number / 215 % (OPERANDS + 2)) as u32;
        access.task.comm = format!("c{}", number / 5000 % 20).into_bytes();
    };
    Large { text, aim }
}

/// More than a thousand rules for every knob, which run an automaton each.
pub(crate) fn one_chain() -> Large {
    const RULES: usize = 1_200;
    let mut text = "policy chain\ndefault write deny\n".to_owned();
    for rule in 0..RULES {
        let action = ["deny(EROFS)", "allow", "deny(EIO)"][rule % 3];
        let _ = writeln!(
            text,
            "{action} read write ** if comm matches \"k*{rule}?\" or old contains \"={rule}\""
        );
    }
    let aim = |access: &mut Access, _: &TestKnob, index: Index| {
        let number = index.index(1 << 20);
        access.task.comm =
            format!("k-{}{}", number % (RULES + 100), ["x", "", "yz"][number % 3]).into_bytes();
    };
    Large { text, aim }
}
