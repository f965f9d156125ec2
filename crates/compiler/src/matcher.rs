//! From a name to the rules that match it.
//!
//! A name that some rule spells out is looked up in a hash map; every other one runs through the automaton of the
//! patterns that are not spelled out, if there are any. What is found for a name that is spelled out includes the rules
//! whose patterns match it: that is known when the policy is compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R10};
use knobgate_bpf::{Cond, Label, MapDef, MapKind, Size, helper_ids as helper};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{KnobPattern, Piece, Policy};

use crate::automaton::{self, NameAutomaton};
use crate::error::CompileError;
use crate::frame;
use crate::lower::Lowering;
use crate::program;
use crate::table::{Table, TooLarge};

/// Tells names apart as far as the rules of a policy do: names of one class are matched by the same rules.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// For names that are not spelled out; absent where nothing else matches any name.
    table: Option<Table>,
    /// Names that are spelled out, each with its class.
    literals: Vec<(Vec<u8>, usize)>,
    /// For each class, the rules that match its names, in order. The first classes are the outputs of the table.
    classes: Vec<Vec<usize>>,
}

impl Matcher {
    /// The matcher of `policy`.
    ///
    /// # Errors
    /// The patterns make too large an automaton: the first rule with which they do.
    pub(crate) fn new(policy: &Policy) -> Result<Self, CompileError> {
        let everywhere =
            |rule: &usize| policy.rules[*rule].patterns.iter().any(KnobPattern::matches_every_name);
        let (everywhere, others): (Vec<usize>, Vec<usize>) = (0..policy.rules.len()).partition(everywhere);
        let (mut patterns, mut rule_of) = (Vec::new(), Vec::new());
        let mut spelled_out: BTreeMap<&[u8], BTreeSet<usize>> = BTreeMap::new();
        for rule in others {
            for pattern in &policy.rules[rule].patterns {
                match pattern.literal() {
                    Some(name) => {
                        spelled_out.entry(name).or_default().insert(rule);
                    }
                    None => {
                        patterns.push(pattern.pieces());
                        rule_of.push(rule);
                    }
                }
            }
        }
        let NameAutomaton { table, sets } = automaton::of_names(&patterns)
            .map_err(|_| CompileError::PatternsTooComplex { rule: rule_of[first_too_many(&patterns)] })?;

        let with = |rules: BTreeSet<usize>| -> Vec<usize> {
            rules.into_iter().chain(everywhere.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let mut classes: Vec<Vec<usize>> =
            sets.iter().map(|set| with(set.iter().map(|&pattern| rule_of[pattern]).collect())).collect();
        let mut numbers: HashMap<Vec<usize>, usize> =
            classes.iter().cloned().enumerate().map(|(number, rules)| (rules, number)).collect();
        let mut literals = Vec::new();
        for (name, mut rules) in spelled_out.into_iter().filter(|(name, _)| name.len() <= NAME_MAX) {
            rules.extend(&classes[table.run(name) as usize]);
            let rules = with(rules);
            let class = *numbers.entry(rules.clone()).or_insert_with(|| {
                classes.push(rules);
                classes.len() - 1
            });
            literals.push((name.to_vec(), class));
        }
        Ok(Self { table: Some(table).filter(|_| !patterns.is_empty()), literals, classes })
    }

    /// For each class, the rules that match its names, in order.
    pub(crate) fn classes(&self) -> &[Vec<usize>] {
        &self.classes
    }

    /// The map of names that are spelled out, if there are any. Keys are padded with zeros.
    pub(crate) fn literals_map(&self) -> Option<MapDef> {
        let key_size = self.key_bytes()?;
        let contents = self.literals.iter().map(|(name, class)| {
            let mut key = name.clone();
            key.resize(key_size as usize, 0);
            (key, (*class as u32).to_ne_bytes().to_vec())
        });
        Some(MapDef {
            name: "names".to_owned(),
            kind: MapKind::Hash,
            key_size: key_size as u32,
            value_size: 4,
            max_entries: self.literals.len() as u32,
            flags: 0,
            contents: contents.collect(),
            frozen: true,
        })
    }

    /// How many bytes of the name are looked up: the longest name and a NUL.
    fn key_bytes(&self) -> Option<i16> {
        let longest = self.literals.iter().map(|(name, _)| name.len()).max()?;
        Some((longest + 1).next_multiple_of(8) as i16)
    }

    /// Emits what fetches the name and leaves its class in R0, or jumps to `too_long`.
    pub(crate) fn emit(&self, lowering: &mut Lowering<'_>, too_long: Label) {
        let key_bytes = self.key_bytes();
        // Behind the name and up to 7 zeros the helper leaves the buffer as it is.
        let zeroed = if lowering.features.uninit_stack { key_bytes.unwrap_or(0) } else { frame::NAME_BYTES };
        for offset in (0..zeroed).step_by(8) {
            lowering.asm.store_imm(Size::U64, R10, frame::NAME + offset, 0);
        }
        lowering.asm.mov(R1, R6);
        lowering.address(R2, frame::NAME);
        lowering.asm.mov(R3, i32::from(frame::NAME_BYTES));
        lowering.asm.mov(R4, 0);
        lowering.asm.call_helper(helper::SYSCTL_GET_NAME);
        // A negative errno is a large number.
        lowering.asm.jump_if(Cond::Gt, R0, NAME_MAX as i32, too_long);

        let (not_spelled_out, classified) = (lowering.asm.new_label(), lowering.asm.new_label());
        if let Some(key_bytes) = key_bytes {
            // The length has to outlive the call; the register is free until a value is fetched.
            lowering.asm.mov(R7, R0);
            lowering.asm.jump_if(Cond::Ge, R7, i32::from(key_bytes), not_spelled_out);
            lowering.asm.load_map(R1, program::NAMES);
            lowering.address(R2, frame::NAME);
            lowering.asm.call_helper(helper::MAP_LOOKUP_ELEM);
            lowering.asm.jump_if(Cond::Eq, R0, 0, not_spelled_out);
            lowering.asm.load(Size::U32, R0, R0, 0);
            lowering.asm.jump(classified);
            lowering.asm.bind(not_spelled_out);
            lowering.asm.mov(R0, R7);
        }
        match &self.table {
            Some(table) => {
                let table = lowering.tables.place(table);
                lowering.address(R1, frame::NAME);
                lowering.asm.mov(R2, R0);
                lowering.asm.mov(R3, table.classes as i32);
                lowering.asm.mov(R4, table.start as i32);
                lowering.routines.call_run_table(&mut lowering.asm);
            }
            // The one class of names that no pattern matches.
            None => lowering.asm.mov(R0, 0),
        }
        lowering.asm.bind(classified);
        lowering.asm.mov(R7, 0);
    }
}

/// The index of the first of `patterns` with which those before it make too large an automaton.
fn first_too_many(patterns: &[&[Piece]]) -> usize {
    let (mut fit, mut too_many) = (0, patterns.len());
    while fit + 1 < too_many {
        let middle = fit.midpoint(too_many);
        match automaton::of_names(&patterns[..middle]) {
            Ok(_) => fit = middle,
            Err(TooLarge) => too_many = middle,
        }
    }
    too_many - 1
}
