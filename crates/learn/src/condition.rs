//! The condition that the values which were seen meet, and as few others as possible.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_policy::{
    Condition, Integer, KnobName, KnobPattern, Normalisation, Operand, PolicyError, Range, Relation,
    TextOperand, TextTest, Value, ValueText, Width, catalogue, known_normalisation, parse_numbers,
};

use crate::recording::{Group, Values};

/// How many numbers are listed. More become a range.
const SET_MAX: usize = 8;
/// How many texts are listed. There are no ranges of texts.
const TEXTS_MAX: usize = 32;
/// How many of the numbers that were not seen a comment names.
const NAMED: usize = 3;

/// A condition, and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Allowed {
    /// `None` if any access is meant.
    pub(crate) condition: Option<Condition>,
    pub(crate) notes: Vec<String>,
}

/// Why values have no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCondition {
    #[error("it was given more than {TEXTS_MAX} different texts")]
    TooManyTexts,
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// The condition that holds for the values of `group`, which were written to `names`.
pub(crate) fn condition(group: &Group, names: &[&KnobName], slack: u32) -> Result<Allowed, NoCondition> {
    let values = &group.values;
    if values.is_empty() {
        return Ok(Allowed::default());
    }
    match lists(values, names) {
        Some(lists) => of_lists(&lists, names, slack),
        None => of_texts(values),
    }
}

/// The numbers that each place of a list had.
#[derive(Debug, Default)]
struct Place {
    seen: BTreeSet<Integer>,
    /// The least and the greatest of those that were not kept.
    extent: Option<(Integer, Integer)>,
}

/// By how many numbers a list has, what each place had; `None` unless all values can be compared as lists.
fn lists(values: &Values, names: &[&KnobName]) -> Option<BTreeMap<usize, Vec<Place>>> {
    let is_text = |name: &KnobName| {
        let pattern = KnobPattern::parse(name.to_string()).ok();
        pattern.and_then(|pattern| known_normalisation(&pattern)).is_some_and(Normalisation::is_text)
    };
    if values.more_texts || names.iter().any(|name| is_text(name)) {
        return None;
    }
    let width = |name: &&KnobName| Width::known(name.as_bytes()).unwrap_or_default();
    let is_stored = |number: Integer| names.iter().map(width).all(|width| width.contains(number));
    let mut lists: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
    for value in &values.distinct {
        let numbers = parse_numbers(value).ok().filter(|numbers| !numbers.is_empty())?;
        for (place, number) in places(&mut lists, numbers.len()).iter_mut().zip(numbers) {
            if !is_stored(number) {
                return None;
            }
            place.seen.insert(number);
        }
    }
    for (&count, extents) in &values.extents {
        for (place, &(low, high)) in places(&mut lists, count).iter_mut().zip(extents) {
            if !is_stored(low) || !is_stored(high) {
                return None;
            }
            place.extent = Some((low, high));
        }
    }
    Some(lists)
}

fn places(lists: &mut BTreeMap<usize, Vec<Place>>, count: usize) -> &mut Vec<Place> {
    lists.entry(count).or_insert_with(|| (0..count).map(|_| Place::default()).collect())
}

fn of_lists(
    lists: &BTreeMap<usize, Vec<Place>>,
    names: &[&KnobName],
    slack: u32,
) -> Result<Allowed, NoCondition> {
    let mut notes = Vec::new();
    let mut branches = Vec::new();
    for (&count, places) in lists {
        let mut parts = Vec::new();
        if lists.len() > 1 || count > 1 || names.iter().any(|name| has_more(name, count)) {
            let count = Operand::Literal((count as u32).into());
            parts.push(Condition::chain(Operand::Count(Value::New), [(Relation::Equal, count)])?);
        }
        for (index, place) in places.iter().enumerate() {
            let operand = match parts.is_empty() {
                true => Operand::only(Value::New),
                false => Operand::element(Value::New, index as i128)?,
            };
            parts.push(of_place(place, operand, names, slack, &mut notes)?);
        }
        if places.iter().filter(|place| place.seen.len() > 1 || place.extent.is_some()).count() > 1 {
            notes.push("also admits other combinations of these numbers".to_owned());
        }
        branches.push(match parts.len() {
            1 => parts.remove(0),
            _ => Condition::all(parts)?,
        });
    }
    let condition = match branches.len() {
        1 => branches.remove(0),
        _ => Condition::any(branches)?,
    };
    Ok(Allowed { condition: Some(condition), notes })
}

/// Whether a write of `count` numbers leaves others of the knob as they are. The rule then says that it means that.
fn has_more(name: &KnobName, count: usize) -> bool {
    let pattern = KnobPattern::parse(name.to_string()).ok();
    pattern.and_then(|pattern| catalogue::count_of_numbers(&pattern)).is_some_and(|all| all > count)
}

fn of_place(
    place: &Place,
    operand: Operand,
    names: &[&KnobName],
    slack: u32,
    notes: &mut Vec<String>,
) -> Result<Condition, PolicyError> {
    let numbers =
        place.seen.iter().copied().chain(place.extent.into_iter().flat_map(|(low, high)| [low, high]));
    let (Some(low), Some(high)) = (numbers.clone().min(), numbers.max()) else {
        return Err(PolicyError::EmptySet);
    };
    let range = |low, high| Condition::in_range(operand, Range::new(Some(low), Some(high))?);
    if slack > 0 {
        let (slack_low, slack_high) = widened(low, high, slack, names);
        if (slack_low, slack_high) != (low, high) {
            let seen = if low == high { low.to_string() } else { format!("{low} to {high}") };
            notes.push(format!("{operand}: {seen} was seen; the rest is slack of {slack} %"));
            return range(slack_low, slack_high);
        }
    }
    if low == high {
        return Condition::chain(operand, [(Relation::Equal, Operand::Literal(low))]);
    }
    let span = (high.get() - low.get()).unsigned_abs() + 1;
    let has_gaps = place.extent.is_some() || span > place.seen.len() as u128;
    if !has_gaps && span > 2 {
        return range(low, high);
    }
    if place.extent.is_none() && place.seen.len() <= SET_MAX {
        return Condition::in_set(operand, place.seen.iter().copied().map(Range::only).collect::<Vec<_>>());
    }
    if place.extent.is_some() {
        notes.push(format!("{operand}: also admits numbers that were not seen"));
    } else {
        notes.push(format!("{operand}: also admits {}", unseen(&place.seen, low, high)));
    }
    range(low, high)
}

/// How many numbers of a range were not seen, and which.
pub(crate) fn unseen(seen: &BTreeSet<Integer>, low: Integer, high: Integer) -> String {
    let count = (high.get() - low.get()).unsigned_abs() + 1 - seen.len() as u128;
    let is_unseen = |number: &i128| Integer::new(*number).is_some_and(|number| !seen.contains(&number));
    // There are more of them than the set has members, or the range ends.
    let some: Vec<String> =
        (low.get()..=high.get()).filter(is_unseen).take(NAMED).map(|number| number.to_string()).collect();
    let numbers = if count == 1 { "number that was" } else { "numbers that were" };
    format!("{count} {numbers} not seen, such as {}", some.join(", "))
}

/// A range with this many per cent more at both ends, within what the knobs store. Numbers that were never negative stay so.
fn widened(low: Integer, high: Integer, slack: u32, names: &[&KnobName]) -> (Integer, Integer) {
    let by = |number: Integer| {
        let number = number.get().unsigned_abs() as i128;
        (number * i128::from(slack) + 99) / 100
    };
    let width = |name: &&KnobName| Width::known(name.as_bytes()).unwrap_or_default().range();
    let inside = |number: i128| {
        let number = number.clamp(Integer::MIN.get(), Integer::MAX.get());
        let number = Integer::new(number).unwrap_or(Integer::MAX);
        names.iter().map(width).fold(number, |number, range| range.clamp(number))
    };
    let floor = if low.is_negative() { i128::MIN } else { 0 };
    (inside((low.get() - by(low)).max(floor)), inside(high.get() + by(high)))
}

fn of_texts(values: &Values) -> Result<Allowed, NoCondition> {
    let texts: BTreeSet<&[u8]> = values.distinct.iter().map(|value| text(value)).collect();
    if values.more_texts || !values.extents.is_empty() || texts.len() > TEXTS_MAX {
        return Err(NoCondition::TooManyTexts);
    }
    let mut texts = texts.into_iter().map(ValueText::new).collect::<Result<Vec<_>, _>>()?;
    let test = match texts.len() {
        1 => TextTest::Equals(texts.remove(0)),
        _ => TextTest::one_of(texts)?,
    };
    let condition = Condition::Text(TextOperand::Value(Value::New), test);
    Ok(Allowed { condition: Some(condition), notes: Vec::new() })
}

/// The text of a value for which conditions on texts can be evaluated.
fn text(value: &[u8]) -> &[u8] {
    value.split(|&byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default()
}
