//! `knobgate test`: run the tests that policies carry.

mod json_report;
mod junit;
mod pretty;
mod progress;
mod rendering;
mod tally;
mod tested_file;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_hook::Profile;
use knobgate_policy_test::PolicyTestError;

use crate::failure::Failure;
use crate::output::Output;
use progress::Progress;
use tally::TestTally;
use tested_file::TestedFile;

/// Run the tests that policies carry
///
/// Each line of a `test` block is a separate access. It is decided twice: by the definition of the language, and by the
/// compiled program on the hook in user space. This needs no kernel and no privileges. All tests run. For those that
/// fail, the output shows the expected and the actual verdict, and the rule that decided.
///
/// Privileges: none.
///
/// Exit status: 0 if all tests passed, 1 if one failed or a policy has errors, 2 if a file cannot be read or the
/// arguments are wrong, 4 if the language and the program disagree, which is a bug in knobgate.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Policy files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only tests whose names contain this
    #[arg(long, value_name = "TEXT")]
    test: Option<String>,
    /// The kernel to compile for and to model, such as 6.8 or 6.12.94; what it cannot do is denied
    #[arg(long, value_name = "KERNEL", default_value = Profile::LINUX_6_18.name)]
    profile: Profile,
    /// The format of the results
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text: what failed, and how many tests did
    Pretty,
    /// One JSON object with everything
    Json,
    /// JUnit XML, one test suite per file
    Junit,
}

impl Test {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if !self.profile.links {
            return Err(Failure::usage(PolicyTestError::NoLinks(self.profile).to_string()));
        }
        let progress = Progress::new(self.files.len());
        let all = tested_file::all(&self.files, &self.profile, self.test.as_deref(), &progress);
        progress.finish();
        let tally = TestTally::of(&all);
        if let Some(text) = &self.test
            && tally.is_without_tests()
            && tally.is_fine()
        {
            return Err(Failure::usage(format!("no test has \"{text}\" in its name")));
        }
        match self.format {
            Format::Pretty => pretty::print(&all, &tally, &self.profile, output)?,
            Format::Json => output.line(json_report::line(&all, &tally, &self.profile))?,
            Format::Junit => output.raw(&junit::document(&all, &self.profile)?)?,
        }
        if self.format != Format::Pretty {
            all.iter().filter_map(TestedFile::unreadable).for_each(|failure| output.failure(failure));
        }
        Ok(ExitCode::from(tally.status()))
    }
}
