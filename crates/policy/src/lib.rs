//! The policy language of knobgate: its syntax and its meaning.
//!
//! **In**: the text of a policy, or the same policy as JSON. **Out**: a checked [`Policy`], or a [`ParseError`] with
//! all [`Diagnostic`]s and their places in the text. [`evaluate()`] takes a policy and an [`Access`], and returns a
//! [`Decision`]. The crate is pure: it reads no files and asks no kernel.
//!
//! ```
//! use knobgate_policy::{Access, CheckOptions, KnobName, Source, Verdict, evaluate, parse};
//!
//! let text = r#"
//! policy web-tier
//!
//! allow write net.ipv4.conf.*.rp_filter if new in {1, 2}
//! clamp write net.core.somaxconn        to 128..65535
//! "#;
//! let file = parse(Source::new("web-tier.knob", text), &CheckOptions::default())?;
//!
//! let access = Access::write(KnobName::parse("net.core.somaxconn")?, "9999999\n");
//! let decision = evaluate(file.policy(), &access);
//! assert_eq!(decision.verdict, Verdict::Rewrite(b"65535\n\n\n".to_vec()));
//! assert_eq!(file.rule_place(1).map(|place| place.line), Some(5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! * A *knob* is a file below `/proc/sys`; [`KnobName`] names it, and a [`KnobPattern`] names many.
//! * An [`Access`] is one read or write of a knob by a task.
//! * A [`Policy`] is a list of [`Rule`]s, the [`Defaults`], and a [`Mode`]. A rule has kinds of access, patterns,
//!   perhaps a [`Condition`], and an [`Action`]. The first rule that matches decides.
//! * A [`Verdict`] lets an access pass, denies it with an [`Errno`], or rewrites what is written.
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | what a policy is | `model/`, [`limits`] |
//! | a policy made by a program | [`Policy::new`], [`Rule::new`]; [`PolicyFile::of`] adds its text |
//! | what it means | `evaluate.rs`; `value.rs` for how values are parsed, [`knobgate_glob`] for patterns, `width.rs` for what knobs store |
//! | what it may mean for an access of which something is unknown | `possible.rs` |
//! | text to policy | [`parse`]: `lexer.rs` → `parser.rs` → `syntax.rs` → `check.rs` |
//! | policies of several texts | [`IncludeLoader`]; `include/expand.rs` makes one text of them; [`presets`] |
//! | policy to text | [`print()`], and [`format()`] for people's files |
//! | `apply if`: which containers a policy applies to | [`selector`] |
//! | what a knob is, for warnings | [`catalogue`], `check/` |
//! | conditions on events | [`filter`], over the same grammar: `scheme.rs` has the fields of both |
//! | what editors ask about a text that may be wrong | [`editor`] |
//! | JSON | `parse_json`, `print_json`, `json_schema`, with the feature `json` |
#![forbid(unsafe_code)]

mod access;
pub mod catalogue;
mod check;
mod decision;
mod diagnostic;
mod did_you_mean;
pub mod editor;
pub mod engine_writes;
mod evaluate;
pub mod filter;
mod format;
mod include;
mod integer;
#[cfg(feature = "json")]
mod json;
mod lexer;
pub mod limits;
mod model;
mod mount_point;
mod name;
mod notation;
mod parse_error;
mod parser;
mod pattern;
mod possible;
pub mod presets;
mod print;
mod scheme;
pub mod selector;
mod source;
mod syntax;
pub mod terminal;
mod text;
mod typed;
mod value;
mod width;

pub use access::{Access, AccessKind, KnobNetns, Task};
pub use check::{CheckOptions, parse};
pub use decision::{DecidedBy, Decision, EvalError, Verdict};
pub use diagnostic::{Diagnostic, Label, Severity, Suggestion};
pub use did_you_mean::did_you_mean;
pub use evaluate::{Applies, applies, evaluate, holds};
pub use format::format;
pub use include::{IncludeError, IncludeLoader, IncludedText};
pub use integer::Integer;
#[cfg(feature = "json")]
pub use json::{JsonDiagnostic, JsonParseError, json_schema, parse_json, print_json};
pub use knobgate_catalogue::Normalisation;
pub use knobgate_errno::Errno;
pub use knobgate_glob::{Piece, Scope};
pub use model::{
    Action, Chain, Condition, Defaults, ElementIndex, Elements, EventRate, Expected, Fallback,
    FallbackAction, InRange, InRanges, InSet, Kinds, List, ListTest, Logging, Mask, Mode, Operand, Policy,
    PolicyError, Range, Relation, Rule, Test, TestStep, TextOperand, TextTest, Value, ValueText, WrongLength,
};
pub use mount_point::NotASysctl;
pub use name::KnobName;
pub use notation::{NotationError, NotationErrorKind};
pub use parse_error::ParseError;
pub use pattern::{KnobPattern, TextGlob};
pub use possible::{Input, Inputs, Possible, PossibleDecision, possible};
pub use print::print;
pub use source::{Place, PolicyFile, Source, Span};
pub use text::Text;
pub use value::parse_numbers;
pub use width::{SHORT_DIGITS, Width, known_normalisation, known_normalisations};
