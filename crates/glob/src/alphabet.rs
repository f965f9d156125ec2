//! Bytes in classes: those of one class lead to the same state from every state.

use std::collections::BTreeSet;

use crate::piece::{Piece, Scope};

/// The byte classes of an automaton.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alphabet {
    class_of: [u8; 256],
    representatives: Vec<u8>,
}

impl Alphabet {
    /// The coarsest alphabet in which each of `ranges` (both ends included) is a union of classes.
    pub(crate) fn separating(ranges: impl IntoIterator<Item = (u8, u8)>) -> Self {
        let mut starts = [false; 257];
        starts[0] = true;
        for (low, high) in ranges {
            starts[usize::from(low)] = true;
            starts[usize::from(high) + 1] = true;
        }
        let mut class_of = [0; 256];
        let mut representatives = Vec::new();
        for byte in 0..=255u8 {
            if starts[usize::from(byte)] {
                representatives.push(byte);
            }
            class_of[usize::from(byte)] = (representatives.len() - 1) as u8;
        }
        Self { class_of, representatives }
    }

    /// How many classes there are.
    pub(crate) fn len(&self) -> usize {
        self.representatives.len()
    }

    /// The class of `byte`.
    pub(crate) fn class(&self, byte: u8) -> u8 {
        self.class_of[usize::from(byte)]
    }

    /// The class of each byte.
    pub(crate) fn classes(&self) -> &[u8; 256] {
        &self.class_of
    }

    /// A byte of each class.
    pub(crate) fn representatives(&self) -> &[u8] {
        &self.representatives
    }
}

/// The ranges of bytes that `patterns` tell apart.
pub(crate) fn ranges(patterns: &[&[Piece]], scope: Scope) -> BTreeSet<(u8, u8)> {
    fn add(pieces: &[Piece], into: &mut BTreeSet<(u8, u8)>) {
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => into.extend(bytes.iter().map(|&byte| (byte, byte))),
                Piece::Class { ranges, .. } => into.extend(ranges),
                Piece::Alternatives(branches) => branches.iter().for_each(|branch| add(branch, into)),
                Piece::Any | Piece::Star | Piece::DoubleStar => {}
            }
        }
    }
    let mut all = BTreeSet::new();
    patterns.iter().for_each(|pieces| add(pieces, &mut all));
    if scope == Scope::Component {
        all.insert((b'/', b'/'));
    }
    all
}
