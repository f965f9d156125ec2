//! What knobgate costs, measured.
//!
//! - `cargo bench -p knobgate-bench` times the parts that need no kernel: the language, the compiler, the hook in user
//!   space.
//! - `cargo run --release -p knobgate-bench` (as root) times the programs on the running kernel's hook and writes
//!   `docs/performance.md` and `docs/performance.svg`.
//!
//! Here is what both work on: [policies](PolicyText) of every size.
#![forbid(unsafe_code)]

mod policies;

pub use policies::{PolicyText, literal};
