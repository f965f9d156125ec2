//! The words of the language.

use std::collections::BTreeSet;

use crate::parser::{self, condition, rule, test_block};
use crate::scheme::{Field, RULES, SELECTORS, Scheme};

/// Words that the parser knows at one place each.
const OTHERS: &[&str] = &["all", "and", "not", "or", "other", "preset", "with"];

/// Every word of policies, sorted: what begins a statement, operands, engines and so on. Errnos are not among them.
///
/// ```
/// use knobgate_policy::editor::words;
///
/// assert!(words().contains("clamp") && words().contains("new") && words().contains("podman"));
/// ```
pub fn words() -> BTreeSet<&'static str> {
    let schemes = [&RULES, &SELECTORS];
    let operands = schemes.into_iter().flat_map(Scheme::operand_words);
    let values = schemes.into_iter().flat_map(|scheme| scheme.fields).flat_map(|(_, field)| match field {
        Field::Word(field) => field.words(),
        _ => &[],
    });
    let lists = [
        parser::STATEMENTS,
        parser::MODES,
        rule::CLAUSES,
        condition::PREDICATES,
        test_block::STEPS,
        test_block::PROPERTIES,
        OTHERS,
    ];
    let lists = lists.into_iter().flatten().copied();
    lists.chain(operands).chain(values.map(|(word, _)| *word)).collect()
}
