//! What the language says about a name: the rest of each pattern after each byte (its derivative), as an automaton.

use std::collections::BTreeSet;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use indexmap::IndexSet;
use knobgate_policy::{AccessKind, KnobPattern, Piece, Policy, Rule, Scope, Width};

use super::decision::{Decision, Tried};

/// The rest of a pattern: a set of alternative lists of pieces.
type Rest = BTreeSet<Vec<Piece>>;

/// Adds the alternatives of `pieces` that start with a piece that matches a byte, or are empty.
fn expand(pieces: &[Piece], into: &mut Rest) {
    match pieces {
        [Piece::Star | Piece::DoubleStar, rest @ ..] => {
            into.insert(pieces.to_vec());
            expand(rest, into);
        }
        [Piece::Alternatives(branches), rest @ ..] => {
            branches.iter().for_each(|branch| expand(&[branch.as_slice(), rest].concat(), into));
        }
        _ => {
            into.insert(pieces.to_vec());
        }
    }
}

/// The rest after `byte`.
fn after(rest: &Rest, byte: u8) -> Rest {
    let mut left = Rest::new();
    for pieces in rest {
        match pieces.as_slice() {
            [Piece::Literal(bytes), rest @ ..] if bytes[0] == byte => match &bytes[1..] {
                [] => expand(rest, &mut left),
                tail => expand(&[&[Piece::Literal(tail.to_vec())], rest].concat(), &mut left),
            },
            [one @ (Piece::Any | Piece::Class { .. }), rest @ ..] if one.takes(byte, Scope::Component) => {
                expand(rest, &mut left);
            }
            [Piece::Star, ..] if byte != b'/' => expand(pieces, &mut left),
            [Piece::DoubleStar, ..] => expand(pieces, &mut left),
            _ => {}
        }
    }
    left
}

/// Why a pattern matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Rule(usize),
    /// Knobs of a known width.
    Known(Width),
    /// Knobs that the policy declares to have 64 bits.
    Declared,
}

/// The definition for one policy and one kind of access.
pub(super) struct Definition<'a> {
    policy: &'a Policy,
    kind: AccessKind,
    /// The rules to which the width of the knob matters.
    width_dependent: Vec<usize>,
    /// The patterns that are no literals.
    globs: Vec<(Owner, &'a KnobPattern)>,
    /// The names that are literals and decided differently from their neighbours.
    literals: BTreeSet<Vec<u8>>,
    /// The rests of single patterns, and what each is after a byte.
    rests: IndexSet<Rest, RandomState>,
    rest_after: HashMap<(usize, u8), usize>,
    /// The states: the rest of each of the patterns.
    states: IndexSet<Vec<usize>, RandomState>,
    state_after: HashMap<(usize, u8), usize>,
}

impl<'a> Definition<'a> {
    /// The definition for accesses of `kind`. `width_dependent` are the rules to which the width of the knob matters.
    pub(super) fn new(policy: &'a Policy, kind: AccessKind, width_dependent: Vec<usize>) -> Self {
        let of_rules = rules(policy, kind).flat_map(|(index, rule)| {
            rule.patterns().iter().map(move |pattern| (Owner::Rule(index), pattern))
        });
        let known = Width::all_known().iter().map(|(pattern, width)| (Owner::Known(*width), pattern));
        let of_widths = known.chain(policy.width_64().iter().map(|pattern| (Owner::Declared, pattern)));
        // Where no such rule matches, the width does not matter.
        let matters = |pattern: &KnobPattern| {
            let mut patterns = width_dependent.iter().flat_map(|&rule| policy.rules()[rule].patterns());
            match pattern.literal() {
                Some(name) => patterns.any(|of_rule| of_rule.matches(name)),
                None => patterns.next().is_some(),
            }
        };
        let (literals, globs): (Vec<_>, Vec<_>) = of_rules
            .chain(of_widths.filter(|(_, pattern)| matters(pattern)))
            .partition(|(_, pattern)| pattern.literal().is_some());
        let literals = literals.into_iter().filter_map(|(_, pattern)| pattern.literal().map(<[u8]>::to_vec));
        let literals = literals.collect();
        Self {
            policy,
            kind,
            width_dependent,
            globs,
            literals,
            rests: IndexSet::default(),
            rest_after: HashMap::default(),
            states: IndexSet::default(),
            state_after: HashMap::default(),
        }
    }

    /// The names that are literals. Only their decisions depend on more than the state.
    pub(super) fn literals(&self) -> &BTreeSet<Vec<u8>> {
        &self.literals
    }

    /// The state before the first byte.
    pub(super) fn start(&mut self) -> usize {
        let rest_of = |pattern: &KnobPattern| {
            let mut rest = Rest::new();
            expand(pattern.pieces(), &mut rest);
            rest
        };
        let start =
            self.globs.iter().map(|(_, pattern)| self.rests.insert_full(rest_of(pattern)).0).collect();
        self.states.insert_full(start).0
    }

    /// The state after `byte`.
    pub(super) fn after(&mut self, state: usize, byte: u8) -> usize {
        let Self { rests, rest_after, states, state_after, .. } = self;
        *state_after.entry((state, byte)).or_insert_with(|| {
            let mut after = |&rest: &usize| {
                let after_rest = || rests.insert_full(after(&rests[rest], byte)).0;
                *rest_after.entry((rest, byte)).or_insert_with(after_rest)
            };
            let left = states[state].iter().map(&mut after).collect();
            states.insert_full(left).0
        })
    }

    /// What is tried for a name that ends in `state`. `literal` is the name if it is one of [`literals`](Self::literals).
    pub(super) fn decision(&self, state: usize, literal: Option<&[u8]>) -> Decision {
        let matching: Vec<Owner> = (self.globs.iter().zip(&self.states[state]))
            .filter(|(_, rest)| self.rests[**rest].contains(&Vec::new()))
            .map(|((owner, _), _)| *owner)
            .collect();
        let width = match literal {
            Some(name) => self.policy.width_of(name),
            None => {
                let known = matching.iter().find_map(|owner| match owner {
                    Owner::Known(width) => Some(*width),
                    _ => None,
                });
                let is_declared = matching.contains(&Owner::Declared);
                known.unwrap_or(if is_declared { Width::Bits64 } else { Width::default() })
            }
        };
        let is_literal = |pattern: &KnobPattern| literal.is_some() && pattern.literal() == literal;
        self.first_to_last(width, |index, rule| {
            let matches = matching.contains(&Owner::Rule(index)) || rule.patterns().iter().any(is_literal);
            matches.then(|| Tried::Rule(index, self.width_for(index, width)))
        })
    }

    /// What is tried for names with the last component `last` that are too long to look at.
    pub(super) fn too_long(&self, last: &[u8]) -> Decision {
        let width = self.policy.width_elsewhere();
        self.first_to_last(width, |index, rule| {
            let may_match = |pattern: &KnobPattern| {
                pattern.last_components().is_none_or(|last_components| last_components.contains(last))
            };
            match rule.patterns() {
                patterns if patterns.iter().any(KnobPattern::matches_every_name) => {
                    Some(Tried::Rule(index, self.width_for(index, width)))
                }
                patterns => patterns.iter().any(may_match).then_some(Tried::NameTooLong(index)),
            }
        })
    }

    /// All last components that patterns spell out.
    pub(super) fn last_components(&self) -> BTreeSet<Vec<u8>> {
        let patterns = rules(self.policy, self.kind).flat_map(|(_, rule)| rule.patterns());
        patterns.filter_map(KnobPattern::last_components).flatten().collect()
    }

    /// The first byte of each range that no pattern and no literal divides.
    pub(super) fn byte_ranges(&self) -> BTreeSet<u8> {
        fn ranges(pieces: &[Piece]) -> Vec<(u8, u8)> {
            let of_piece = |piece: &Piece| match piece {
                Piece::Literal(bytes) => bytes.iter().map(|&byte| (byte, byte)).collect(),
                Piece::Class { ranges, .. } => ranges.clone(),
                Piece::Alternatives(branches) => branches.iter().flat_map(|branch| ranges(branch)).collect(),
                Piece::Any | Piece::Star | Piece::DoubleStar => Vec::new(),
            };
            pieces.iter().flat_map(of_piece).collect()
        }
        let of_globs = self.globs.iter().flat_map(|(_, pattern)| ranges(pattern.pieces()));
        of_globs.flat_map(|(low, high)| [Some(low), high.checked_add(1)]).flatten().collect()
    }

    /// What is tried: what `tried` returns for each rule, up to the first that certainly decides, or else the default.
    fn first_to_last(&self, width: Width, tried: impl Fn(usize, &Rule) -> Option<Tried>) -> Decision {
        let mut all = Vec::new();
        let mut is_decided = false;
        for (index, rule) in rules(self.policy, self.kind) {
            let Some(tried) = tried(index, rule) else { continue };
            all.push(tried);
            is_decided = rule.condition().is_none() || matches!(tried, Tried::NameTooLong(_));
            if is_decided {
                break;
            }
        }
        if !is_decided {
            all.push(Tried::Default(self.kind));
        }
        let depends = all.iter().any(|tried| matches!(tried, Tried::Rule(_, Some(_))));
        Decision { tried: all, fetched: depends.then_some(width) }
    }

    fn width_for(&self, rule: usize, width: Width) -> Option<Width> {
        self.width_dependent.contains(&rule).then_some(width)
    }
}

fn rules(policy: &Policy, kind: AccessKind) -> impl Iterator<Item = (usize, &Rule)> {
    policy.rules().iter().enumerate().filter(move |(_, rule)| rule.kinds().contains(kind))
}
