//! Tests of policies on the hook in user space, without root and in microseconds.
//!
//! **In**: a policy and the profile of a kernel. The policy is compiled for that kernel, and attached to the hook in
//! user space. **Out**: decisions about accesses, one at a time ([`PolicyTest::decide`]) or for all accesses in the
//! policy's `test` blocks ([`PolicyTest::run_tests`]).
//!
//! Every access is decided twice: by [`evaluate`](knobgate_policy::evaluate()), which defines the language, and by the
//! program, from the system call to the knob's handler. The two have to agree. If they do not, that is a [`Mismatch`]:
//! a bug in knobgate, not in the policy.
//!
//! For example, in the tests of a project that has policies:
//!
//! ```
//! use knobgate_policy::{CheckOptions, Source, parse};
//! use knobgate_policy_test::{Profile, PolicyTest};
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
//! let report = PolicyTest::new(&file, &Profile::default())?.run_tests();
//! assert!(report.passed(), "{report}");
//!
//! // The same on a kernel that ignores replaced values.
//! let report = PolicyTest::new(&file, &"6.8".parse()?)?.run_tests();
//! assert!(!report.passed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The policy sees the task of the access, which may be any user. The permissions of knobs are not tested, and neither
//! are the values that their handlers accept.
#![forbid(unsafe_code)]

mod decided;
mod error;
mod fake_knob;
mod mismatch;
mod policy_test;
mod report;

pub use decided::{DecideError, Decided};
pub use error::PolicyTestError;
pub use knobgate_hook::Profile;
pub use mismatch::{Mismatch, ProgramOutcome};
pub use policy_test::PolicyTest;
pub use report::{StepOutcome, TestOutcome, TestReport};
