//! Running the tests of policy files.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use knobgate_compiler::Degradation;
use knobgate_policy::{CheckOptions, PolicyFile};
use knobgate_policy_test::{PolicyTest, PolicyTestError, Profile, TestOutcome};

use super::progress::Progress;
use crate::failure::Failure;
use crate::not_compiled;
use crate::policy_file::{self, Checked, check_policy};

/// One policy file, with the results of its tests.
#[derive(Debug)]
pub(super) struct TestedFile {
    /// The name of the file in messages.
    pub(super) name: String,
    /// The results, or why the tests did not run.
    pub(super) ran: Result<Ran, NotRun>,
}

/// The results of the tests of a policy.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) file: PolicyFile,
    /// Where the program is stricter than the policy, because of the kernel.
    pub(super) degradations: Vec<Degradation>,
    pub(super) tests: Vec<TestOutcome>,
}

/// Why the tests of a file did not run.
#[derive(Debug)]
pub(super) enum NotRun {
    /// The file cannot be read.
    Unreadable(Failure),
    /// It has errors, or the kernel does not support it.
    Wrong(Box<Checked>),
    /// A bug in knobgate.
    Bug(Failure),
}

impl TestedFile {
    /// Why the file cannot be read, if it cannot.
    pub(super) fn unreadable(&self) -> Option<&Failure> {
        match &self.ran {
            Err(NotRun::Unreadable(failure)) => Some(failure),
            _ => None,
        }
    }
}

/// Runs the tests of all `files` whose names contain `text`, if there is one, on as many threads as there are
/// processors.
pub(super) fn all(
    files: &[PathBuf],
    profile: &Profile,
    text: Option<&str>,
    progress: &Progress,
) -> Vec<TestedFile> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(index) else { return done };
            done.push((index, one(path, profile, text)));
            progress.step();
        }
    };
    let mut all: Vec<(usize, TestedFile)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, file)| file).collect()
}

fn one(path: &Path, profile: &Profile, text: Option<&str>) -> TestedFile {
    TestedFile { name: policy_file::name(path), ran: run(path, profile, text) }
}

fn run(path: &Path, profile: &Profile, text: Option<&str>) -> Result<Ran, NotRun> {
    let mut checked = check_policy(path, &CheckOptions::default()).map_err(NotRun::Unreadable)?;
    let Some(file) = checked.file.take() else { return Err(NotRun::Wrong(Box::new(checked))) };
    let mut policy_test = match PolicyTest::new(&file, profile) {
        Ok(policy_test) => policy_test,
        Err(PolicyTestError::Compile { source, .. }) => {
            checked.diagnostics.push(not_compiled::diagnostic(&source, &file, profile));
            return Err(NotRun::Wrong(Box::new(checked)));
        }
        Err(error) => {
            let what = format!("{}: cannot run the policy", file.source().name());
            return Err(NotRun::Bug(Failure::bug(what).because(error)));
        }
    };
    let named = |test: &usize| text.is_none_or(|text| file.policy().tests()[*test].name.contains(text));
    let tests =
        (0..file.policy().tests().len()).filter(named).map(|test| policy_test.run_test(test)).collect();
    let degradations = policy_test.degradations().to_vec();
    Ok(Ran { file, degradations, tests })
}
