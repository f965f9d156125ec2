//! Policies tried on the hook in user space, without root and in microseconds.
//!
//! **In** come a policy and the description of a kernel. The policy is compiled for that kernel, and attached to the hook in
//! user space. **Out** comes what becomes of accesses, one at a time ([`Trial::decide`]) or all those in the policy's `test`
//! blocks ([`Trial::run_tests`]).
//!
//! Every access is decided twice: by [`evaluate`](knobgate_policy::evaluate()), which is what the language means, and by
//! the program, from the system call to what the knob's handler is given. The two have to agree. Where they do not,
//! that is a [`Contradiction`], a bug of knobgate and nothing that a policy could be blamed for.
//!
//! In the tests of another project, with its policies:
//!
//! ```
//! use knobgate_policy::{CheckOptions, Source, parse};
//! use knobgate_trial::{Profile, Trial};
//!
//! let text = r#"
//! policy web
//! clamp write net.core.somaxconn to 128..65535
//!
//! test "the backlog stays in bounds" {
//!   write net.core.somaxconn "9999999\n" => set "65535\n\n\n"
//!   write net.core.somaxconn "512\n"     => allow
//! }
//! "#;
//! let file = parse(Source::new("web.knob", text), &CheckOptions::default()).unwrap();
//! let report = Trial::new(&file, &Profile::default())?.run_tests();
//! assert!(report.passed(), "{report}");
//!
//! // The same on a kernel that drops the values with which programs replace written ones.
//! let report = Trial::new(&file, &"6.8".parse()?)?.run_tests();
//! assert!(!report.passed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The task of an access may be any user: that is what the policy sees. The permissions of knobs are not part of a
//! trial, and neither is what their handlers take for a value.
#![forbid(unsafe_code)]

mod contradiction;
mod decided;
mod error;
mod report;
mod stated_knob;
mod trial;

pub use contradiction::{Contradiction, Done};
pub use decided::{Decided, Undecided};
pub use error::TrialError;
pub use knobgate_hook::Profile;
pub use report::{StepOutcome, TestOutcome, TestReport};
pub use trial::Trial;
