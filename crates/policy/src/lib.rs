//! The policy language of knobgate: what it looks like, and what it means.
#![forbid(unsafe_code)]

mod access;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod check;
mod decision;
mod diagnostic;
mod errno;
mod evaluate;
mod format;
mod glob;
mod inclusion;
mod integer;
mod json;
mod lexer;
pub mod limits;
mod model;
mod name;
mod nearest;
mod parser;
mod pattern;
mod print;
mod source;
mod spelling;
mod syntax;
mod text;
mod value;

pub use access::{Access, AccessKind, Task};
pub use check::{CheckOptions, parse};
pub use decision::{DecidedBy, Decision, Unreadable, Verdict};
pub use diagnostic::{Diagnostic, Label, Severity, Suggestion};
pub use errno::Errno;
pub use evaluate::{Applies, applies, evaluate};
pub use format::format;
pub use glob::{Piece, Scope};
pub use integer::Integer;
pub use json::{JsonError, json_schema, parse_json, print_json};
pub use model::{
    Action, Condition, Defaults, Expected, Fallback, FallbackAction, Kinds, Mode, Operand, Policy, Range,
    Relation, Rule, Test, TestStep, TextOperand, TextTest, Value,
};
pub use name::KnobName;
pub use pattern::{KnobPattern, TextGlob};
pub use print::print;
pub use source::{PolicyFile, Source, Span};
pub use spelling::{SpellingError, SpellingErrorKind};
pub use text::Text;
