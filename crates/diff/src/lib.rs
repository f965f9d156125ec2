//! What two policies decide differently.
//!
//! **In**: an old [`Policy`](knobgate_policy::Policy) and a new one. **Out**: a [`Diff`]: the [`Class`]es of accesses on
//! which they differ, each with both verdicts, the rules that decide, and an example. The crate is pure.
//!
//! ```
//! use knobgate_diff::{Change, Diff};
//! use knobgate_policy::{Access, CheckOptions, KnobName, Source, parse};
//!
//! let policy = |rule: &str| {
//!     let text = format!("policy web\n{rule}\n");
//!     parse(Source::new("web.knob", text), &CheckOptions::default()).map(|file| file.into_policy())
//! };
//! let old = policy("allow write net.core.somaxconn if new <= 128")?;
//! let new = policy("allow write net.core.somaxconn if new <= 256")?;
//!
//! let diff = Diff::between(&old, &new)?;
//! let [class] = diff.classes() else { panic!("one difference") };
//! assert_eq!(class.change, Change::NewlyAllowed);
//! assert_eq!(class.region.to_string(), "new 129..256");
//! assert_eq!(class.names[0].example.new.as_deref(), Some(&b"129"[..]));
//!
//! let access = |value: &str| Ok::<_, Box<dyn std::error::Error>>(
//!     Access::write(KnobName::parse("net.core.somaxconn")?, value)
//! );
//! assert!(diff.find(&old, &new, &access("200\n")?).is_some_and(|(found, _)| found == class));
//! assert!(diff.find(&old, &new, &access("300\n")?).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! * A [`Change`] is how the new policy treats an access differently.
//! * A [`Class`] has accesses with the same change, the same kinds of verdict, and the same [`Region`]; its names are in
//!   [`Names`], each for the same rules.
//! * A [`Region`] says what the accesses of a class hold: for each [`Subject`], such as `new`, its [`Part`]s.
//! * A *candidate* is a value that stands for all values of its part.
//!
//! # How it works
//!
//! | step | see |
//! | --- | --- |
//! | all names are partitioned by the patterns of both policies | `names.rs` |
//! | each class of names has an example | `example_name.rs` |
//! | the conditions and actions of its rules divide values into parts | `atoms.rs`, `texts.rs` |
//! | each part has candidates | `candidates.rs` |
//! | [`evaluate`](knobgate_policy::evaluate()) decides all combinations of them, by both policies | `decide.rs` |
//! | differences of several sets of names become one class | `class.rs` |
//!
//! # What is exact
//!
//! Names are: every name belongs to one class of the partition. Values are where every part has candidates that both
//! policies decide as they decide all of its values. Where it is not known whether that holds, there is a class
//! [`Change::Undecided`], with its [`Reason`]; differences that were found all the same are classes beside it. Undecided
//! classes are never left out, so policies without classes decide every access in the same way.
#![forbid(unsafe_code)]

mod atoms;
mod candidates;
mod change;
mod class;
mod contents;
mod decide;
mod diff;
mod example_name;
#[cfg(feature = "json")]
mod json;
mod names;
mod region;
mod selectors;
mod texts;

pub use candidates::Reason;
pub use change::{Change, VerdictKind};
pub use class::{Class, Names};
pub use decide::{ALL_CASES_MAX, CASES_MAX};
pub use diff::{Diff, DiffError};
#[cfg(feature = "json")]
pub use json::{ClassEventsDocument, DiffDocument, EventsDocument, json_schema};
pub use names::{MATCHES_MAX, NAME_STEPS_MAX, NameSet};
pub use region::{Part, Region, Subject};
pub use selectors::SelectorChanges;
pub use texts::TEXT_STATES_MAX;
