//! What editors ask about the text of a policy, or about one that is for policies to include. The text may have errors.
//!
//! ```
//! use knobgate_policy::editor::{self, Candidate};
//!
//! let next = editor::candidates("policy web\nallow re");
//! assert!(next.all.contains(&Candidate::Word("read")));
//! assert_eq!(next.start, "policy web\nallow ".len());
//!
//! assert_eq!(editor::candidates("policy web\nallow read net.ipv4.").all, [Candidate::Pattern]);
//! ```

mod outline;
mod tokens;
mod words;

use crate::parser;

pub use outline::{Outline, OutlineItem, OutlineKind, outline};
pub use tokens::{SyntaxToken, SyntaxTokenKind, tokens};
pub use words::words;

/// What may come at the end of an unfinished text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Candidate {
    /// A word of the language, or `=>`.
    Word(&'static str),
    /// A pattern for the names of knobs.
    Pattern,
    /// The name of a knob.
    Name,
    /// The name of an errno.
    Errno,
    /// The name of a preset, between quotes.
    Preset,
    /// The path of a file to include, between quotes.
    File,
}

/// What may come at the end of an unfinished text, and where that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidates {
    /// Where the word, name or text begins that may be unfinished: at the end, if none has begun.
    pub start: usize,
    /// What may stand there, whatever the text has there so far.
    pub all: Vec<Candidate>,
}

/// What may come at the end of `text`, which is a policy up to some place. In a comment, and between most quotes, nothing may.
pub fn candidates(text: &str) -> Candidates {
    let (start, all) = parser::parse_candidates(text);
    Candidates { start, all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Engine;

    /// What may come at the end of `text`, in one line.
    fn next(text: &str) -> String {
        let Candidates { start, all } = candidates(text);
        let shown = |candidate: &Candidate| match candidate {
            Candidate::Word(word) => (*word).to_owned(),
            other => format!("{other:?}"),
        };
        format!("{:?}: {}", &text[start..], all.iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    const STATEMENTS: &str = "policy mode width default apply include allow deny set clamp ignore test";

    #[test]
    fn candidates_fit_their_place() {
        let engines: Vec<&str> = Engine::ALL.iter().map(|engine| engine.name()).collect();
        let engines = engines.join(" ");
        let statements = STATEMENTS.strip_prefix("policy ").unwrap();
        for (text, expected) in [
            ("", format!("\"\": {STATEMENTS}")),
            ("po", format!("\"po\": {STATEMENTS}")),
            ("policy x\n", format!("\"\": {statements}")),
            ("policy x\r\n  al", format!("\"al\": {statements}")),
            ("mode ", "\"\": audit enforce".to_owned()),
            ("default ", "\"\": read write".to_owned()),
            ("default read ", "\"\": allow deny".to_owned()),
            ("default read deny ", "\"\": log nolog".to_owned()),
            ("default read deny(", "\"\": Errno".to_owned()),
            ("width ", "\"\": ".to_owned()),
            ("width 64 ", "\"\": Pattern".to_owned()),
            ("apply ", "\"\": if".to_owned()),
            ("apply if ", "\"\": not engine cgroup unit container pod namespace image label".to_owned()),
            ("apply if engine == do", format!("\"do\": {engines}")),
            ("apply if pod ", "\"\": in matches starts contains".to_owned()),
            (
                "allow",
                "\"allow\": policy mode width default apply include allow deny set clamp ignore test"
                    .to_owned(),
            ),
            ("allow ", "\"\": read write".to_owned()),
            ("allow read ", "\"\": write Pattern".to_owned()),
            ("allow read write ", "\"\": Pattern".to_owned()),
            ("deny(EA", "\"EA\": Errno".to_owned()),
            ("deny(EACCES) ", "\"\": read write".to_owned()),
            ("deny(EACCES", "\"EACCES\": Errno".to_owned()),
            ("allow read net.ipv4.tcp_{rmem,w", "\"net.ipv4.tcp_{rmem,w\": Pattern".to_owned()),
            ("allow read a, ", "\"\": Pattern".to_owned()),
            ("allow read a,\n  kernel/", "\"kernel/\": Pattern".to_owned()),
            ("allow read a ", "\"\": if log nolog".to_owned()),
            ("set write a ", "\"\": to".to_owned()),
            ("set write a to \"1\" ", "\"\": if log nolog".to_owned()),
            ("clamp write a to 1..2 l", "\"l\": if log nolog".to_owned()),
            ("allow write a if ", "\"\": not new old comm pos uid gid netns count each ranges".to_owned()),
            (
                "allow write a if ne",
                "\"ne\": not new old comm pos uid gid netns count each ranges".to_owned(),
            ),
            ("allow write a if new ", "\"\": in matches starts contains".to_owned()),
            ("allow write a if new starts ", "\"\": with".to_owned()),
            ("allow write a if new < ", "\"\": new old comm pos uid gid netns count each ranges".to_owned()),
            ("allow write a if count(", "\"\": new old".to_owned()),
            ("allow write a if uid == 0 ", "\"\": and or log nolog".to_owned()),
            (
                "allow write a if uid == 0 and\n  n",
                "\"n\": not new old comm pos uid gid netns count each ranges".to_owned(),
            ),
            ("allow write a log(", "\"\": all".to_owned()),
            ("include ", "\"\": preset".to_owned()),
            ("include \"com", "\"com\": File".to_owned()),
            ("include preset \"", "\"\": Preset".to_owned()),
            ("include preset \"docker-", "\"docker-\": Preset".to_owned()),
            ("test \"x\" {", "\"\": read write".to_owned()),
            ("test \"x\" {\n  ", "\"\": read write".to_owned()),
            ("test \"x\" {\n  r", "\"r\": read write".to_owned()),
            ("test \"x\" {\n  read ", "\"\": Name".to_owned()),
            ("test \"x\" {\n  read kernel.o", "\"kernel.o\": Name".to_owned()),
            ("test \"x\" {\n  read a ", "\"\": old pos uid gid comm netns =>".to_owned()),
            ("test \"x\" {\n  read a uid 0 ", "\"\": old pos gid comm netns =>".to_owned()),
            ("test \"x\" {\n  read a => ", "\"\": allow deny set".to_owned()),
            ("test \"x\" {\n  read a => deny ", "\"\": Errno".to_owned()),
            ("test \"x\" {\n  read a => deny EP", "\"EP\": Errno".to_owned()),
            ("test \"x\" {\n  read a => allow\n}\n", format!("\"\": {STATEMENTS}")),
        ] {
            assert_eq!(next(text), expected, "{text:?}");
            for candidate in candidates(text).all {
                assert!(
                    !matches!(candidate, Candidate::Word(word) if word != "=>" && !words().contains(word))
                );
            }
        }
    }

    #[test]
    fn nothing_comes_in_comments_texts_and_after_errors() {
        for text in [
            "# al",
            "allow # re",
            "allow read # net",
            "allow read a, # net",
            "allow write a if # ne",
            "policy x # al",
            "set write a to \"al",
            "allow write a if new == \"in",
            "allow write a if new == \"in\"",
            "include \"a.knob\"",
            "alow re",
            "allow read a b c",
        ] {
            assert_eq!(candidates(text).all, [], "{text:?}");
        }
    }

    #[test]
    fn an_error_before_does_not_matter() {
        assert_eq!(next("nonsense\nallow read a b\nallow "), "\"\": read write");
        assert_eq!(next("test \"x\" {\n  read\n  re"), "\"re\": read write");
    }
}
