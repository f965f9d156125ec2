//! The command that prints the whole log of the kernel's verifier.

use std::borrow::Cow;
use std::path::Path;

use knobgate_scenario::ProgramFile;

/// The command for a program of a scenario in this directory, to be pasted into a shell.
pub(super) fn verify_command(directory: &Path, file: &ProgramFile) -> String {
    let path_of = |path: &str| directory.join(path).display().to_string();
    let mut words = vec!["knobgate".to_owned(), "verify".to_owned()];
    match file {
        ProgramFile::Object { path, program, set } => {
            words.extend([format!("--object={}", path_of(path)), format!("--program={program}")]);
            words.extend(set.iter().map(|(name, value)| format!("--set={name}={value}")));
        }
        ProgramFile::Policy { path } => words.push(format!("--policy={}", path_of(path))),
    }
    words.push("--log".to_owned());
    words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_the_path_from_here_and_is_quoted() {
        let policy = || ProgramFile::Policy { path: "web.knob".to_owned() };
        let object = ProgramFile::Object {
            path: "my objects/a.bpf.o".to_owned(),
            program: "main".to_owned(),
            set: vec![("mode".to_owned(), "ENFORCE".to_owned()), ("digit".to_owned(), "'a'".to_owned())],
        };
        for (directory, file, command) in [
            ("", policy(), "knobgate verify --policy=web.knob --log"),
            ("tests/b", policy(), "knobgate verify --policy=tests/b/web.knob --log"),
            (
                "/tmp",
                object,
                r"knobgate verify '--object=/tmp/my objects/a.bpf.o' --program=main --set=mode=ENFORCE '--set=digit='\''a'\''' --log",
            ),
        ] {
            assert_eq!(verify_command(Path::new(directory), &file), command);
        }
    }
}
