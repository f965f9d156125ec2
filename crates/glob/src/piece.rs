//! What patterns mean.

/// One piece of a pattern.
///
/// The fields can hold more than patterns need. A piece is *canonical* if it keeps the rules that its variant states.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Piece {
    /// These bytes; never empty.
    Literal(Vec<u8>),
    /// `?`: one byte; in a name not a `/`.
    Any,
    /// `*`: any bytes, or none; in a name no `/`.
    Star,
    /// `**`: any bytes, or none, `/` included. Only in names.
    DoubleStar,
    /// `[a-z]`, `[!a-z]`: one byte of these, or of all others; in a name not a `/`.
    Class {
        /// Whether the class is of the bytes that are *not* listed.
        negated: bool,
        /// Inclusive ranges of bytes, sorted, disjoint, none empty, at least one.
        ranges: Vec<(u8, u8)>,
    },
    /// `{a,b}`: one of these; never empty.
    Alternatives(Vec<Vec<Piece>>),
}

/// What `*`, `?` and classes may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Names: everything but `/`.
    Component,
    /// Text: everything.
    Text,
}

impl Piece {
    /// Whether it keeps the rules that its variant states, and so do its alternatives.
    pub(crate) fn is_canonical(&self, scope: Scope) -> bool {
        match self {
            Piece::Literal(bytes) => !bytes.is_empty(),
            Piece::Any | Piece::Star => true,
            Piece::DoubleStar => scope == Scope::Component,
            Piece::Class { ranges, .. } => {
                !ranges.is_empty()
                    && ranges.iter().all(|(low, high)| low <= high)
                    && ranges.is_sorted_by(|(_, before), (after, _)| before < after)
            }
            Piece::Alternatives(branches) => {
                !branches.is_empty() && branches.iter().flatten().all(|piece| piece.is_canonical(scope))
            }
        }
    }

    /// Whether this piece, which stands for exactly one byte, takes `byte`. `false` for all other pieces.
    pub fn takes(&self, byte: u8, scope: Scope) -> bool {
        match self {
            Piece::Any => inside(byte, scope),
            Piece::Class { negated, ranges } => {
                let listed = ranges.iter().any(|&(low, high)| (low..=high).contains(&byte));
                inside(byte, scope) && listed != *negated
            }
            _ => false,
        }
    }
}

/// Whether `pieces`, which are canonical, match all of `subject`. Takes time in proportion to the product of their lengths.
pub fn matches(pieces: &[Piece], subject: &[u8], scope: Scope) -> bool {
    // Most subjects differ at their beginning or end.
    if let Some(Piece::Literal(start)) = pieces.first()
        && !subject.starts_with(start)
    {
        return false;
    }
    if let Some(Piece::Literal(end)) = pieces.last()
        && !subject.ends_with(end)
    {
        return false;
    }
    let mut start = vec![false; subject.len() + 1];
    start[0] = true;
    advance(pieces, subject, scope, start)[subject.len()]
}

/// From the set of places in `subject` where a match of `pieces` may begin (`places[i]`: before byte `i`), the
/// set of places where it may end.
fn advance(pieces: &[Piece], subject: &[u8], scope: Scope, mut places: Vec<bool>) -> Vec<bool> {
    for piece in pieces {
        let mut next = vec![false; places.len()];
        match piece {
            Piece::Literal(bytes) => {
                for (i, _) in places.iter().enumerate().filter(|(_, here)| **here) {
                    if subject[i..].starts_with(bytes) {
                        next[i + bytes.len()] = true;
                    }
                }
            }
            Piece::Any | Piece::Class { .. } => {
                for (i, &byte) in subject.iter().enumerate() {
                    next[i + 1] = places[i] && piece.takes(byte, scope);
                }
            }
            Piece::Star | Piece::DoubleStar => {
                next[0] = places[0];
                for (i, &byte) in subject.iter().enumerate() {
                    let carried = next[i] && (*piece == Piece::DoubleStar || inside(byte, scope));
                    next[i + 1] = places[i + 1] || carried;
                }
            }
            Piece::Alternatives(branches) => {
                for branch in branches {
                    for (i, end) in advance(branch, subject, scope, places.clone()).into_iter().enumerate() {
                        next[i] |= end;
                    }
                }
            }
        }
        places = next;
    }
    places
}

fn inside(byte: u8, scope: Scope) -> bool {
    scope == Scope::Text || byte != b'/'
}
