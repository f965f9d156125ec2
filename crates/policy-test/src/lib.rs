//! Tests of policies on the hook in user space, without root and in microseconds.
//!
//! **In** come a policy and the description of a kernel. The policy is compiled for that kernel, and attached to the hook
//! in user space. **Out** come the decisions about accesses, one at a time ([`PolicyTest::decide`]) or for all accesses in
//! the policy's `test` blocks ([`PolicyTest::run_tests`]).
//!
//! Every access is decided twice: by [`evaluate`](knobgate_policy::evaluate()), which is what the language means, and by
//! the program, from the system call to what the knob's handler is given. The two have to agree. Where they do not,
//! that is a [`Mismatch`]: a bug of knobgate, and not of the policy.
//!
//! In the tests of another project, with its policies:
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
//! // The same on a kernel that drops the values with which programs replace written ones.
//! let report = PolicyTest::new(&file, &"6.8".parse()?)?.run_tests();
//! assert!(!report.passed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The task of an access may be any user: that is what the policy sees. The permissions of knobs are not tested, and
//! neither is which values their handlers accept.
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
