//! Texts for every combination of tests.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt, HashSet};
use knobgate_glob::{Budget, Dfa, Piece, TextEnd, text_dfa};
use knobgate_policy::TextTest;

/// The most states that the tests of one text may have together.
pub const TEXT_STATES_MAX: usize = 1 << 14;

/// The most steps for the automaton of one test.
const STEPS_MAX: usize = 1 << 18;

/// For each combination of results that `tests` can have, one of the shortest texts; without those in `texts`. A text is at
/// most `length` bytes long and has none of the bytes `excluded`. `None` if that takes too much.
pub(crate) fn examples(
    tests: &[&TextTest],
    texts: &[&[u8]],
    length: usize,
    excluded: &[u8],
) -> Option<Vec<Vec<u8>>> {
    let mut patterns: Vec<Vec<Piece>> = tests.iter().map(|test| pattern(test)).collect();
    patterns.dedup();
    let is_listed = (!texts.is_empty()).then(|| {
        let literal =
            |text: &&[u8]| if text.is_empty() { vec![] } else { vec![Piece::Literal(text.to_vec())] };
        vec![Piece::Alternatives(texts.iter().map(literal).collect())]
    });
    patterns.extend(is_listed.clone());
    let automata: Vec<Dfa> = patterns
        .iter()
        .map(|pattern| text_dfa(pattern, TextEnd::Nul, &mut Budget::steps(STEPS_MAX)).ok())
        .collect::<Option<_>>()?;
    let states: Vec<Vec<(u32, &[u32])>> = automata.iter().map(|dfa| dfa.states().collect()).collect();
    let bytes = representatives(&automata, excluded);

    let mut found = Vec::new();
    let mut combinations: HashSet<Vec<u32>> = HashSet::default();
    let start = vec![0u32; automata.len()];
    let mut lengths: HashMap<Vec<u32>, Vec<u8>> = HashMap::new();
    lengths.insert(start.clone(), Vec::new());
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        let text = lengths[&state].clone();
        let outputs: Vec<u32> =
            state.iter().zip(&states).map(|(&state, states)| states[state as usize].0).collect();
        let is_in_texts = is_listed.is_some() && outputs.last() == Some(&1);
        if !is_in_texts && combinations.insert(outputs) {
            found.push(text.clone());
        }
        if text.len() == length {
            continue;
        }
        for &byte in &bytes {
            let next: Vec<u32> = state
                .iter()
                .zip(&states)
                .zip(&automata)
                .map(|((&state, states), dfa)| {
                    states[state as usize].1[usize::from(dfa.byte_classes()[usize::from(byte)])]
                })
                .collect();
            if !lengths.contains_key(&next) {
                let longer = [text.as_slice(), &[byte]].concat();
                lengths.insert(next.clone(), longer);
                queue.push_back(next);
            }
        }
        if lengths.len() > TEXT_STATES_MAX {
            return None;
        }
    }
    Some(found)
}

/// The texts for which `test` holds, as a glob.
fn pattern(test: &TextTest) -> Vec<Piece> {
    let literal = |text: &[u8]| (!text.is_empty()).then(|| Piece::Literal(text.to_vec()));
    match test {
        TextTest::Matches(glob) => glob.pieces().to_vec(),
        TextTest::StartsWith(text) => literal(text.as_bytes()).into_iter().chain([Piece::Star]).collect(),
        TextTest::Contains(text) => match literal(text.as_bytes()) {
            Some(literal) => vec![Piece::Star, literal, Piece::Star],
            None => vec![Piece::Star],
        },
        TextTest::Equals(text) | TextTest::Differs(text) => literal(text.as_bytes()).into_iter().collect(),
        TextTest::In(texts) => {
            let branch = |text: &[u8]| literal(text).into_iter().collect();
            vec![Piece::Alternatives(texts.iter().map(|text| branch(text.as_bytes())).collect())]
        }
    }
}

/// A byte for each set of bytes that no automaton tells apart; letters where there are some.
fn representatives(automata: &[Dfa], excluded: &[u8]) -> Vec<u8> {
    let mut seen: HashSet<Vec<u8>> = HashSet::default();
    let letters = b'a'..=b'z';
    let graphic = (1..=u8::MAX).filter(u8::is_ascii_graphic);
    let all = letters.chain(graphic).chain(1..=u8::MAX).filter(|byte| !excluded.contains(byte));
    all.filter(|&byte| {
        seen.insert(automata.iter().map(|dfa| dfa.byte_classes()[usize::from(byte)]).collect())
    })
    .collect()
}
