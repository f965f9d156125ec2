//! `knobgate lint`: configuration files checked against a policy.

mod json_report;
mod text_report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate_policy::{EvalError, Mode, NotASysctl, PolicyFile};
use knobgate_sysctl_conf::{
    FileKind, Key, KnobVerdict, LineError, Linter, Outcome, SetApart, Setting, Settings, read,
};

use crate::failure::{BAD, Failure, USAGE};
use crate::limited::is_stdin;
use crate::output::Output;
use crate::policy_file::{self, load_policy};
use crate::{json, plural, settings_file, style};

/// Check configuration files against a policy: would it allow what they set?
///
/// Reads sysctl.d files, Kubernetes manifests, compose files, and Quadlet units. Every setting is a write of its value and
/// a newline by root. A verdict that depends on what a file does not say (the current value of the knob, the name of the
/// task) is reported as such. For a glob, there is a verdict for each way in which its knobs are decided, with an example.
/// Globs leave knobs alone that have a setting or an exclusion of their own in any of the sysctl.d files.
///
/// Privileges: none.
///
/// Exit status: 0 if everything is allowed; 1 if something is denied, rewritten, or depends on what is not known, if a line
/// is wrong, or if the policy has errors; 2 if the arguments are wrong or a file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Lint {
    /// Configuration files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// What kind of files they are; by default, the name and the content of each tell
    #[arg(long, value_name = "KIND")]
    kind: Option<KindArgument>,
    /// Print only JSON to standard output: one object per verdict or error
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  knobgate lint --policy web.knob /etc/sysctl.d/*.conf
  knobgate lint --policy web.knob compose.yaml web.container
  helm template web | knobgate lint --policy web.knob --kind kubernetes -";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum KindArgument {
    /// sysctl.d(5), sysctl.conf(5)
    Sysctl,
    /// A manifest, in YAML or JSON
    Kubernetes,
    /// A compose file
    Compose,
    /// A Quadlet unit
    Quadlet,
}

impl From<KindArgument> for FileKind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Sysctl => Self::Sysctl,
            KindArgument::Kubernetes => Self::Kubernetes,
            KindArgument::Compose => Self::Compose,
            KindArgument::Quadlet => Self::Quadlet,
        }
    }
}

/// A setting with its verdicts.
struct Linted<'a> {
    file: &'a str,
    policy: &'a PolicyFile,
    setting: &'a Setting,
    verdicts: Vec<KnobVerdict>,
}

/// Counts of all files.
#[derive(Default)]
struct Tally {
    files: usize,
    settings: usize,
    allowed: usize,
    rewritten: usize,
    denied: usize,
    depends: usize,
    errors: usize,
    unreadable: usize,
}

impl Lint {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if is_stdin(&self.policy) && self.files.iter().any(|file| is_stdin(file)) {
            return Err(Failure::usage("the policy and a file cannot both be standard input"));
        }
        let policy = load_policy(&self.policy, output)?;
        if policy.policy().mode() == Mode::Audit {
            output.note("the policy is in mode audit: it counts these verdicts, and lets everything pass");
        }
        let mut linter = Linter::new(policy.policy());
        let files: Vec<_> = self.files.iter().map(|path| (path, self.read(path))).collect();
        // Other kinds of files have no globs, and what they set does not keep those of sysctl.d away.
        let confs = files.iter().filter_map(|(_, file)| file.as_ref().ok());
        let confs = confs.filter(|(kind, _)| *kind == FileKind::Sysctl).map(|(_, settings)| settings);
        let apart = SetApart::of(confs);
        let mut tally = Tally::default();
        for (path, file) in files {
            tally.files += 1;
            match file {
                Ok((_, settings)) => {
                    let verdicts = |setting: &Setting| linter.verdicts(setting, &apart);
                    self.lint(path, &settings, verdicts, &policy, &mut tally, output)?;
                }
                Err(failure) => {
                    tally.unreadable += 1;
                    output.failure(&failure);
                }
            }
        }
        if !self.json {
            output.line(tally.summary())?;
        }
        Ok(ExitCode::from(match tally {
            Tally { unreadable: 1.., .. } => USAGE,
            Tally { errors: 0, allowed, settings, .. } if allowed == settings => 0,
            _ => BAD,
        }))
    }

    /// The kind of a file, and its settings.
    fn read(&self, path: &Path) -> Result<(FileKind, Settings), Failure> {
        let bytes = settings_file::read(path)?;
        let kind = self.kind.map(FileKind::from);
        let name = policy_file::name(path);
        let kind =
            kind.or_else(|| FileKind::detect(&name, &String::from_utf8_lossy(&bytes))).ok_or_else(|| {
                let help = "say it with --kind: sysctl, kubernetes, compose or quadlet";
                Failure::usage(format!("cannot tell what kind of file {name} is")).because(help)
            })?;
        let mut settings = read(kind, &bytes);
        settings.settings.retain(|setting| match check_is_sysctl(&setting.key) {
            Ok(()) => true,
            Err(error) => {
                let (message, help) = (error.to_string(), Some(error.help()));
                settings.errors.push(LineError { line: setting.line, message, help });
                false
            }
        });
        settings.errors.sort_by_key(|error| error.line);
        Ok((kind, settings))
    }

    fn lint(
        &self,
        path: &Path,
        settings: &Settings,
        mut verdicts: impl FnMut(&Setting) -> Vec<KnobVerdict>,
        policy: &PolicyFile,
        tally: &mut Tally,
        output: &Output,
    ) -> Result<(), Failure> {
        let file = &policy_file::name(path);
        if settings.settings.is_empty() && settings.errors.is_empty() {
            output.note(format_args!("{file} sets nothing"));
        }
        for error in &settings.errors {
            tally.errors += 1;
            if self.json {
                output.line(json::line(&json_report::error(file, error)))?;
            } else {
                settings_file::report_line(file, error, output);
            }
        }
        for setting in &settings.settings {
            let linted = Linted { file, policy, setting, verdicts: verdicts(setting) };
            tally.count(&linted);
            if self.json {
                for object in json_report::objects(&linted) {
                    output.line(json::line(&object))?;
                }
            } else {
                output.line(text_report::lines(&linted))?;
            }
        }
        Ok(())
    }
}

fn check_is_sysctl(key: &Key) -> Result<(), NotASysctl> {
    match key {
        Key::Knob(name) => name.check_is_sysctl(),
        Key::Glob(pattern) => pattern.check_is_sysctl(),
    }
}

/// Why a rule cannot be evaluated.
fn why(error: EvalError) -> String {
    match error {
        // There may be one, which may be of the wrong kind.
        EvalError::NoOld => "the knob has no current value, or one that it cannot look at".to_owned(),
        error => error.to_string(),
    }
}

impl Tally {
    fn count(&mut self, linted: &Linted<'_>) {
        self.settings += 1;
        let has = |outcome: Outcome| linted.verdicts.iter().any(|verdict| verdict.outcome() == outcome);
        *if has(Outcome::Denied) {
            &mut self.denied
        } else if has(Outcome::Rewritten) {
            &mut self.rewritten
        } else if has(Outcome::Depends) {
            &mut self.depends
        } else {
            &mut self.allowed
        } += 1;
    }

    fn summary(&self) -> String {
        let counts = [
            (self.allowed, "allowed", style::ALLOW),
            (self.denied, "denied", style::DENY),
            (self.rewritten, "rewritten", style::REWRITE),
            (self.depends, "not certain", style::WARNING),
        ];
        let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
        let mut parts: Vec<String> =
            counts.map(|(count, what, style)| format!("{style}{count} {what}{style:#}")).collect();
        for (count, what) in [(self.errors, "error"), (self.unreadable, "unreadable file")] {
            if count > 0 {
                parts.push(format!("{0}{1}{0:#}", style::ERROR, plural::count(count, what)));
            }
        }
        let (files, settings) = (plural::count(self.files, "file"), plural::count(self.settings, "setting"));
        let colon = if parts.is_empty() { "" } else { ": " };
        format!("{files}, {settings}{colon}{}", parts.join(", "))
    }
}
