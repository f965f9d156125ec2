//! The files that a policy in a file includes.

use std::error::Error;
use std::fs::{File, canonicalize};
use std::io::Read;
use std::path::{Path, PathBuf};

use knobgate_policy::{IncludeError, IncludeLoader, IncludedText};

/// Reads the files that a policy includes. A path is relative to the directory of the file with the `include` statement, as that
/// file was named.
///
/// ```no_run
/// use knobgate::IncludedFiles;
/// use knobgate::policy::{CheckOptions, Source, parse};
///
/// let path = "/etc/knobgate/policies.d/web.knob";
/// let source = Source::from_bytes(path, &std::fs::read(path)?);
/// let policy = parse(source, &CheckOptions::default().includes(&IncludedFiles::of(path)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncludedFiles {
    policy: PathBuf,
}

impl IncludedFiles {
    /// What the policy in the file at `policy` includes.
    pub fn of(policy: impl Into<PathBuf>) -> Self {
        Self { policy: policy.into() }
    }

    /// The path of the file that is included as `name`.
    pub(crate) fn path(&self, name: &str, from: Option<&Path>) -> PathBuf {
        from.unwrap_or(&self.policy).parent().unwrap_or(Path::new("")).join(name)
    }
}

impl IncludeLoader for IncludedFiles {
    fn policy_id(&self) -> Option<PathBuf> {
        canonicalize(&self.policy).ok()
    }

    fn load(&self, name: &str, from: Option<&Path>, most: usize) -> Result<IncludedText, IncludeError> {
        let path = self.path(name, from);
        let name = path.display().to_string();
        match read(&path, most) {
            Ok((bytes, _)) if bytes.len() > most => Err(IncludeError::TooLarge { name }),
            Ok((bytes, id)) => Ok(IncludedText::new(name, path, bytes).with_id(id)),
            Err(error) => Err(IncludeError::Unreadable { name, error }),
        }
    }
}

/// What the file at `path` holds, up to one byte more than `most`, and its path without links.
fn read(path: &Path, most: usize) -> Result<(Vec<u8>, PathBuf), Box<dyn Error + Send + Sync>> {
    let id = canonicalize(path)?;
    // Opening a FIFO would wait for its writer.
    if !id.metadata()?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(&id)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, id))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use knobgate_policy::{CheckOptions, ParseError, PolicyFile, Source, parse};

    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        directory
    }

    fn parse_file(path: &Path) -> Result<PolicyFile, ParseError> {
        let source = Source::from_bytes(path.display().to_string(), &fs::read(path).unwrap());
        parse(source, &CheckOptions::default().includes(&IncludedFiles::of(path)))
    }

    #[test]
    fn paths_are_relative_to_the_file_with_the_statement() {
        let directory = directory(&[
            ("web.knob", "policy web\ninclude \"parts/net.knob\"\n"),
            ("parts/net.knob", "include \"more/vm.knob\"\nallow write net.core.somaxconn\n"),
            ("parts/more/vm.knob", "include \"../../top.knob\"\nallow write vm.swappiness\n"),
            ("top.knob", "allow write vm.dirty_ratio\n"),
        ]);
        let file = parse_file(&directory.path().join("web.knob")).unwrap();
        let places: Vec<_> = (0..3).map(|rule| file.rule_place(rule).unwrap().to_string()).collect();
        let expected = ["parts/more/../../top.knob:1", "parts/more/vm.knob:2", "parts/net.knob:2"];
        assert_eq!(places, expected.map(|place| format!("{}/{place}", directory.path().display())));
    }

    #[test]
    fn a_file_that_includes_itself_under_another_name_is_an_error() {
        let directory = directory(&[
            ("web.knob", "policy web\ninclude \"a.knob\"\n"),
            ("a.knob", "include \"./b.knob\"\n"),
        ]);
        std::os::unix::fs::symlink(directory.path().join("a.knob"), directory.path().join("link.knob"))
            .unwrap();
        fs::write(directory.path().join("b.knob"), "include \"link.knob\"\n").unwrap();
        let error = parse_file(&directory.path().join("web.knob")).unwrap_err();
        let codes: Vec<_> = error.diagnostics().iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, ["include-cycle"], "{error}");

        fs::write(directory.path().join("b.knob"), "include \"./web.knob\"\n").unwrap();
        assert_eq!(
            parse_file(&directory.path().join("web.knob")).unwrap_err().diagnostics()[0].code,
            "include-cycle"
        );
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        for name in ["missing.knob", "/dev/zero", "."] {
            let text = format!("policy web\ninclude \"{name}\"\n");
            let directory = directory(&[("web.knob", &text)]);
            let error = parse_file(&directory.path().join("web.knob")).unwrap_err();
            assert_eq!(error.diagnostics()[0].code, "include-unreadable", "{name}");
        }
    }
}
