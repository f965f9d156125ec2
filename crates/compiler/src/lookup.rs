//! Finding a name among names that are known when the policy is compiled: few by a tree of comparisons, many by a
//! [perfect hash](crate::perfect).

use std::collections::BTreeSet;
use std::rc::Rc;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size};

use crate::blocks::Blocks;
use crate::chain::StepId;
use crate::lower::Lowering;
use crate::perfect::{LAST_MULTIPLIER, PerfectHash};
use crate::program;
use crate::tables::Tables;

/// Up to this many names are found by comparing words; more by their hash, which takes as long for any number. Writing
/// `net/ipv4/conf/default/rp_filter` took 1.206 (one name), 1.211 (16) and 1.218 (32) times as long as with a program that
/// only returns 1 with comparisons, and 1.223 to 1.240 with hashes, on Linux 6.18. Each name makes the code longer.
pub(crate) const TREE_MAX: usize = 32;

/// Names with where they lead to.
type Names<'a> = Vec<(&'a [u8], Target)>;

/// What looks for one of some [`Names`].
#[derive(Debug)]
pub(crate) struct Lookup {
    /// How many 8-byte words are looked at: the longest name, a NUL, and zeros.
    words: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Tree(Vec<(Vec<u64>, Target)>),
    Hash(HashAt),
}

/// Where a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) step: StepId,
    /// Of a last component that only one name has: the offset in the tables of that name's slot in a hash. Else 0.
    pub(crate) only: u32,
}

/// A perfect hash in the tables. A slot holds the words of its name, and then the target: the row of the step, and the
/// slot of the only name, four bytes each.
#[derive(Debug)]
struct HashAt {
    hash: PerfectHash,
    buckets: u32,
    slots: u32,
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    /// This.
    Known(Target),
    /// The step whose row is in R0. R3 is the slot that it was found in.
    InSlot,
}

/// The lookups of a program. Equal names that lead to the same, as those of reads and writes often do, share one.
#[derive(Debug, Default)]
pub(crate) struct Lookups<'a> {
    placed: Vec<(Names<'a>, Rc<Lookup>)>,
}

impl<'a> Lookups<'a> {
    /// The one that looks for one of `names`, which are different; for none there is none.
    pub(crate) fn place(
        &mut self,
        names: Names<'a>,
        blocks: &Blocks,
        tables: &mut Tables,
    ) -> Option<Rc<Lookup>> {
        if let Some((_, lookup)) = self.placed.iter().find(|(placed, _)| *placed == names) {
            return Some(lookup.clone());
        }
        let lookup = Rc::new(Lookup::place(&names, blocks, tables)?);
        self.placed.push((names, lookup.clone()));
        Some(lookup)
    }
}

impl Lookup {
    fn place(names: &[(&[u8], Target)], blocks: &Blocks, tables: &mut Tables) -> Option<Self> {
        let words = names.iter().map(|(name, _)| name.len() / 8 + 1).max()?;
        let keys = names.iter().map(|(name, target)| (in_words(name, words), *target));
        if names.len() <= TREE_MAX {
            return Some(Self { words, form: Form::Tree(keys.collect()) });
        }
        let (keys, targets): (Vec<Vec<u64>>, Vec<Target>) = keys.unzip();
        let hash = PerfectHash::new(&keys);
        let buckets = tables.place_words(hash.buckets.iter().copied());
        // No name begins with zeros, so that none is found in a slot that is empty.
        let empty = vec![0; words];
        let slots = tables.place_words(hash.slots.iter().flat_map(|slot| {
            let (key, target) = slot.map_or((&empty, 0), |key| {
                let Target { step, only } = targets[key];
                (&keys[key], u64::from(only) << 32 | u64::from(blocks.of(step).row))
            });
            key.iter().copied().chain([target])
        }));
        Some(Self { words, form: Form::Hash(HashAt { hash, buckets, slots }) })
    }

    /// The offset in the tables of the slot of a name that was placed; `None` if names are not kept in slots.
    pub(crate) fn slot_of(&self, name: &[u8]) -> Option<u32> {
        let Form::Hash(HashAt { hash, slots, .. }) = &self.form else { return None };
        Some(slots + (hash.slot_of(&in_words(name, self.words)) * self.stride()) as u32)
    }

    /// Bytes in a slot.
    fn stride(&self) -> usize {
        8 * (self.words + 1)
    }

    /// How many bytes are looked at.
    pub(crate) fn bytes(&self) -> i16 {
        8 * self.words as i16
    }

    /// Emits the search for the name on the stack at `at`, behind which are zeros. What has to be done where it is found
    /// `found` emits, which has to jump in the end. R0 to R3 are lost.
    pub(crate) fn emit(
        &self,
        lowering: &mut Lowering<'_>,
        at: i16,
        not_found: Label,
        mut found: impl FnMut(&mut Lowering<'_>, Found),
    ) {
        match &self.form {
            Form::Tree(names) => {
                let names: Vec<&(Vec<u64>, Target)> = names.iter().collect();
                let words: BTreeSet<usize> = (0..self.words).collect();
                emit_tree(lowering, at, &names, &words, not_found, &mut found);
            }
            Form::Hash(hash) => {
                self.emit_hash(lowering, at, hash);
                self.emit_slot(lowering, at, not_found);
                found(lowering, Found::InSlot);
            }
        }
    }

    /// The same among names in slots, where the slot may be known: its offset, or 0, is on the stack at `only`. Falls
    /// through where it is found, with the row in R0.
    pub(crate) fn emit_knowing_slot(
        &self,
        lowering: &mut Lowering<'_>,
        at: i16,
        only: i16,
        not_found: Label,
    ) {
        let Form::Hash(hash) = &self.form else { unreachable!("names of a tree are in no slots") };
        let (unknown, in_slot) = (lowering.asm.new_label(), lowering.asm.new_label());
        let mask = lowering.tables.row_mask() as i32;
        let asm = &mut lowering.asm;
        asm.load(Size::U32, R3, R10, only);
        asm.jump_if(Cond::Eq, R3, 0, unknown);
        asm.alu(AluOp::And, R3, mask);
        asm.load_map_value(R0, program::TABLES, 0);
        asm.alu(AluOp::Add, R3, R0);
        asm.jump(in_slot);
        asm.bind(unknown);
        self.emit_hash(lowering, at, hash);
        lowering.asm.bind(in_slot);
        self.emit_slot(lowering, at, not_found);
    }

    /// Makes R3 the slot in which the name is, if it is in one.
    fn emit_hash(&self, lowering: &mut Lowering<'_>, at: i16, placed: &HashAt) {
        let asm = &mut lowering.asm;
        let word_at = |word: usize| at + 8 * word as i16;
        for (word, &multiplier) in placed.hash.multipliers.iter().enumerate() {
            asm.load(Size::U64, R1, R10, word_at(word));
            asm.mov(R2, R1);
            asm.alu(AluOp::Rsh, R2, 32);
            asm.alu(AluOp::Xor, R1, R2);
            asm.load_imm64(R2, multiplier);
            asm.alu(AluOp::Mul, R1, R2);
            if word == 0 {
                asm.mov(R0, R1);
            } else {
                asm.alu(AluOp::Add, R0, R1);
            }
        }
        asm.mov(R1, R0);
        asm.alu(AluOp::Rsh, R1, 32);
        asm.alu(AluOp::Xor, R0, R1);
        asm.load_imm64(R1, LAST_MULTIPLIER);
        asm.alu(AluOp::Mul, R0, R1);

        asm.mov(R1, R0);
        asm.alu(AluOp::Rsh, R1, placed.hash.bucket_shift() as i32);
        asm.alu(AluOp::Lsh, R1, 3);
        asm.load_map_value(R2, program::TABLES, placed.buckets);
        asm.alu(AluOp::Add, R2, R1);
        asm.load(Size::U64, R1, R2, 0);
        asm.alu(AluOp::Mul, R0, R1);
        asm.alu(AluOp::Rsh, R0, placed.hash.slot_shift() as i32);
        asm.alu(AluOp::Mul, R0, self.stride() as i32);
        asm.load_map_value(R3, program::TABLES, placed.slots);
        asm.alu(AluOp::Add, R3, R0);
    }

    /// Loads the row from the slot in R3, if that is the name's.
    fn emit_slot(&self, lowering: &mut Lowering<'_>, at: i16, not_found: Label) {
        let asm = &mut lowering.asm;
        // The last words differ most often.
        for word in (0..self.words).rev() {
            asm.load(Size::U64, R1, R10, at + 8 * word as i16);
            asm.load(Size::U64, R2, R3, 8 * word as i16);
            asm.jump_if(Cond::Ne, R1, R2, not_found);
        }
        asm.load(Size::U32, R0, R3, 8 * self.words as i16);
    }

    /// Loads the slot of the only name from the slot in R3.
    pub(crate) fn emit_only(&self, lowering: &mut Lowering<'_>, into: Reg) {
        lowering.asm.load(Size::U32, into, R3, 8 * self.words as i16 + 4);
    }
}

/// The bytes as words, with zeros behind.
fn in_words(name: &[u8], words: usize) -> Vec<u64> {
    let mut padded = name.to_vec();
    padded.resize(8 * words, 0);
    padded.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Tells `names` apart, which agree in all words that are not in `open`. A word is loaded again for every comparison: the
/// verifier would follow each of its values.
fn emit_tree(
    lowering: &mut Lowering<'_>,
    at: i16,
    names: &[&(Vec<u64>, Target)],
    open: &BTreeSet<usize>,
    not_found: Label,
    found: &mut dyn FnMut(&mut Lowering<'_>, Found),
) {
    let values = |word: usize| names.iter().map(|(words, _)| words[word]).collect::<BTreeSet<u64>>();
    // The word with most values, of the last ones if there are many: names differ most at their ends.
    let Some(&word) = open.iter().max_by_key(|&&word| values(word).len()) else {
        return found(lowering, Found::Known(names[0].1));
    };
    let values = values(word);
    let load = |lowering: &mut Lowering<'_>, value| {
        lowering.asm.load(Size::U64, R1, R10, at + 8 * word as i16);
        lowering.asm.load_imm64(R2, value);
    };
    match values.iter().nth(values.len() / 2) {
        Some(&middle) if values.len() > 1 => {
            let upper = lowering.asm.new_label();
            load(lowering, middle);
            lowering.asm.jump_if(Cond::Ge, R1, R2, upper);
            let (low, high): (Vec<_>, Vec<_>) = names.iter().partition(|(words, _)| words[word] < middle);
            emit_tree(lowering, at, &low, open, not_found, found);
            lowering.asm.bind(upper);
            emit_tree(lowering, at, &high, open, not_found, found);
        }
        _ => {
            load(lowering, names[0].0[word]);
            lowering.asm.jump_if(Cond::Ne, R1, R2, not_found);
            let open: BTreeSet<usize> = open.iter().copied().filter(|other| *other != word).collect();
            emit_tree(lowering, at, names, &open, not_found, found);
        }
    }
}
