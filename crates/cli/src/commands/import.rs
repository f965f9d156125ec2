//! `knobgate import`: sysctl.d files as a policy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate_policy::limits;
use knobgate_sysctl_conf::{Conf, ConfFile, FileKind, ImportError, import};

use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::output::Output;
use crate::policy_file;
use crate::{file_output, settings_file};

/// Make a policy of sysctl.d files, which allows what they set and nothing else
///
/// The policy has a rule for each setting, the comments of the files, and a test block. It denies every other write, and
/// no read. Files are read as systemd-sysctl and sysctl(8) read them, and in the order in which they are given: of several
/// settings of the same key, the last one counts.
///
/// Privileges: none.
///
/// Exit status: 0 if the policy was written, 1 if a line of a file is wrong, 2 if the arguments are wrong or a file cannot
/// be read or written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Import {
    /// sysctl.d files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The name of the policy; by default that of the file, or `sysctl`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The policy; `-` is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

const EXAMPLES: &str = "Examples:
  knobgate import /etc/sysctl.d/99-web.conf
  knobgate import --name web -o web.knob 10-net.conf 99-web.conf
  knobgate import - < web.conf | knobgate test -";

/// The name of a policy that is made of several files, or of standard input.
const DEFAULT_NAME: &str = "sysctl";

impl Import {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if !is_stdin(&self.output) {
            policy_file::check_is_for_text(&self.output)?;
        }
        let confs = self.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let files: Vec<ConfFile<'_>> = confs.iter().map(|(name, conf)| ConfFile { name, conf }).collect();
        let name = self.name.clone().unwrap_or_else(|| default_name(&self.files));
        let imported = import(&name, &files).map_err(|error| match error {
            ImportError::Lines(errors) => {
                errors.iter().for_each(|(file, error)| settings_file::report_line(file, error, output));
                Failure::Reported
            }
            ImportError::Name { source, .. } => {
                Failure::usage(format!("`{name}` is no name for a policy; give one with --name"))
                    .because(source)
            }
            error => Failure::bad("cannot make a policy").because(error),
        })?;
        imported.notes.iter().for_each(|note| output.warning(note));
        let policy = imported.file.source().text().as_bytes();
        if is_stdin(&self.output) {
            output.raw(policy)?;
        } else {
            self.write(policy)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, policy: &[u8]) -> Result<(), Failure> {
        let place = policy_file::name(&self.output);
        let is_output = |path: &PathBuf| match (path.canonicalize(), self.output.canonicalize()) {
            (Ok(path), Ok(output)) => path == output,
            _ => false,
        };
        if self.files.iter().any(is_output) {
            return Err(Failure::usage(format!(
                "{place} is one of the files to import: it would be overwritten"
            )));
        }
        file_output::replace(&self.output, |file| file.write_all(policy))
            .map_err(|error| Failure::usage(format!("cannot write {place}")).because(error))
    }
}

/// A sysctl.d file with its name.
fn read(path: &Path) -> Result<(String, Conf), Failure> {
    let (name, bytes) = (policy_file::name(path), settings_file::read(path)?);
    let what = match FileKind::detect(&name, &String::from_utf8_lossy(&bytes)) {
        Some(FileKind::Sysctl) | None => return Ok((name, Conf::parse(&bytes))),
        Some(FileKind::Kubernetes) => "a Kubernetes manifest",
        Some(FileKind::Compose) => "a compose file",
        Some(FileKind::Quadlet) => "a systemd unit",
    };
    let help = "sysctl.d files can be imported; `knobgate lint` checks the others against a policy";
    Err(Failure::usage(format!("{name} looks like {what}")).because(help))
}

/// The name of the only file without its extension, with `-` for what names of policies do not contain.
fn default_name(files: &[PathBuf]) -> String {
    let [file] = files else { return DEFAULT_NAME.to_owned() };
    let Some(stem) = file.file_stem().filter(|_| !is_stdin(file)) else { return DEFAULT_NAME.to_owned() };
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = stem.to_string_lossy().chars().map(allowed).collect();
    name[..name.len().min(limits::POLICY_NAME_MAX)].to_owned()
}
