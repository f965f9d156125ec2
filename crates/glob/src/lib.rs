//! Glob patterns for the names of knobs and for texts: what they mean, and the automata that match them.
//!
//! **In** come patterns, as [`Piece`]s. **Out** comes whether one [`matches()`] a string, by the definition; or a minimal
//! [`Dfa`] that tells for many patterns at once; or a [`Partition`] of all names by which of the patterns match them; or a
//! [`common_name()`] of two patterns.
//!
//! ```
//! use knobgate_glob::{Budget, Partition, Piece};
//!
//! let all_below_net = [Piece::Literal(b"net/".to_vec()), Piece::DoubleStar];
//! let somaxconn = [Piece::Literal(b"net/core/somaxconn".to_vec())];
//! let partition = Partition::new(
//!     &[&all_below_net, &somaxconn],
//!     &mut Budget::steps(1_000),
//!     |matching| matching.to_vec(),
//!     |_name, literals, otherwise| otherwise.iter().chain(literals).copied().collect(),
//! )?;
//! assert_eq!(partition.class_of(b"net/core/somaxconn"), &[0, 1]);
//! assert_eq!(partition.class_of(b"net/core/netdev_budget"), &[0]);
//! # Ok::<(), knobgate_glob::TooLarge>(())
//! ```
//!
//! # From patterns to a table
//!
//! | step | see |
//! | --- | --- |
//! | patterns with a common prefix share its states in one NFA | `nfa.rs` |
//! | sets of its states become states of a DFA | `determinise.rs` |
//! | states that do the same become one | `minimise.rs`, [`Dfa`] |
//! | strings are grouped by what matches them | [`Partition`] |
//! | two runs of the NFA over the same bytes end together | `overlap.rs` |
#![forbid(unsafe_code)]

mod alphabet;
mod budget;
mod determinise;
mod dfa;
mod minimise;
mod nfa;
mod overlap;
mod partition;
mod piece;
mod text;

pub use budget::{Budget, ENTRIES_MAX, TooLarge};
pub use dfa::Dfa;
pub use overlap::common_name;
pub use partition::{Literal, Partition};
pub use piece::{Piece, Scope, matches};
pub use text::{TextEnd, text_dfa};
