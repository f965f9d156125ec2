//! Why an object cannot be used.

/// Why an object, or a program in one, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// It is not an object file.
    #[error("this is not an object file with BPF programs: {why}")]
    NotAnObject {
        /// Why.
        why: String,
    },
    /// It is inconsistent, or ends too early.
    #[error("the object is damaged: {}", printable(what))]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// There is no program for this hook in it.
    #[error(
        "the object has no program for the accesses to /proc/sys, which is one in the section cgroup/sysctl{}",
        listed("; it has", programs)
    )]
    NoProgram {
        /// The programs that there are, each with its section.
        programs: Vec<String>,
    },
    /// There are several, and none was named.
    #[error("the object has several programs, one of which has to be named: {}", printable(&programs.join(", ")))]
    WhichProgram {
        /// Their names.
        programs: Vec<String>,
    },
    /// There is none of this name.
    #[error("the object has no program \"{name}\"{}", listed("; it has", programs))]
    NoSuchProgram {
        /// The name that was asked for.
        name: String,
        /// The names of those that there are.
        programs: Vec<String>,
    },
    /// A program is for another hook.
    #[error(
        "the program \"{name}\" is not for the accesses to /proc/sys: its section is {}, not cgroup/sysctl",
        printable(section)
    )]
    OtherHook {
        /// Its name.
        name: String,
        /// Its section.
        section: String,
    },
    /// A program uses something that is not supported.
    #[error("the program \"{}\" cannot be used: {}", printable(program), printable(what))]
    Unsupported {
        /// Its name.
        program: String,
        /// What it uses, by name.
        what: String,
    },
    /// There is no variable of this name that could be set.
    #[error(
        "the object has no variable \"{name}\"{}{}",
        suggestion(name, variables),
        listed("; it has", variables)
    )]
    NoSuchVariable {
        /// The name that was asked for.
        name: String,
        /// The names of those that there are.
        variables: Vec<String>,
    },
    /// A variable cannot have this value.
    #[error(
        "the variable \"{name}\" ({}) cannot be set to \"{value}\": {}",
        printable(of_type),
        printable(what)
    )]
    Value {
        /// The name of the variable.
        name: String,
        /// Its type and size.
        of_type: String,
        /// The value.
        value: String,
        /// What is wrong.
        what: String,
    },
}

impl ObjectError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

fn listed(lead: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{lead} {}", printable(&names.join(", "))) }
}

/// A text with names from an object, which may have any bytes: a newline in one would forge a line of output.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// The known name that is like this one but for a letter more, less or changed.
fn suggestion(name: &str, known: &[String]) -> String {
    let is_near = |other: &&String| {
        let same = name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let (rest, other) = (&name.as_bytes()[same..], &other.as_bytes()[same..]);
        let after_one = |bytes: &[u8]| bytes.get(1..).unwrap_or_default().to_vec();
        rest == after_one(other) || after_one(rest) == other || after_one(rest) == after_one(other)
    };
    known.iter().find(is_near).map(|near| format!(", did you mean \"{near}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_messages_have_no_control_characters() {
        let forged = || "a\nb\x1b[31m\u{9b}".to_owned();
        let shown = "a\u{fffd}b\u{fffd}[31m\u{fffd}";
        let errors = [
            ObjectError::damaged(forged()),
            ObjectError::NoProgram { programs: vec![forged()] },
            ObjectError::WhichProgram { programs: vec![forged()] },
            ObjectError::NoSuchProgram { name: "x".to_owned(), programs: vec![forged()] },
            ObjectError::OtherHook { name: "x".to_owned(), section: forged() },
            ObjectError::Unsupported { program: forged(), what: "x".to_owned() },
            ObjectError::Unsupported { program: "x".to_owned(), what: forged() },
            ObjectError::NoSuchVariable { name: "x".to_owned(), variables: vec![forged()] },
        ];
        for error in errors {
            assert!(error.to_string().contains(shown), "{error:?}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
}
