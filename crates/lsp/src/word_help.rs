//! What the words of the language mean, in one line each.

use knobgate_policy::Errno;

/// Each word of the language.
const WORDS: &[(&str, &str)] = &[
    ("all", "an event for every access: `log(all)`"),
    ("allow", "lets the access pass unchanged"),
    ("and", "both conditions hold; the second one is not evaluated if the first one fails"),
    ("apply", "`apply if` says for which containers and units the policy is"),
    ("audit", "a mode: every access is decided and reported, and passes unchanged"),
    ("cgroup", "the path of the cgroup; in a selector"),
    ("clamp", "moves the number that is written into a range: `clamp write \u{2026} to 1..10`"),
    ("comm", "the name of the task, of at most 15 bytes, which the task chooses"),
    ("container", "the name of the container; in a selector"),
    ("contains", "the text has this text in it"),
    ("count", "how many numbers a value has: `count(new)`"),
    ("default", "what decides about an access that no rule matches: `default write deny`"),
    ("deny", "fails the access with EPERM, or with another errno: `deny(EROFS)`"),
    ("each", "every number of a value, of which there has to be one: `each(new) in 1..5`"),
    ("enforce", "the usual mode: what is decided happens"),
    ("engine", "the container engine, or `systemd`; in a selector"),
    ("gid", "the real group id of the task, as the initial user namespace has it"),
    ("host", "the machine's own network namespace: `netns == host`"),
    ("if", "the rule matches only if this condition holds"),
    ("ignore", "writes what the knob already holds, so that the writer believes that it worked"),
    ("image", "the image of the container; in a selector"),
    ("in", "the number is in a range, `in 1..10`, or the value is one of a set, `in {1, 2}`"),
    ("include", "the rules and tests of another file, or the rules of a preset"),
    ("label", "a label of the container: `label(\"app\")`; in a selector"),
    ("log", "asks for an event, at most 10 a second; `log(100/s)` and `log(all)` for more"),
    ("matches", "the whole text matches this glob"),
    ("mode", "`mode enforce`, or `mode audit` to report and let everything pass"),
    ("namespace", "the Kubernetes namespace of the pod; in a selector"),
    ("netns", "the network namespace that owns the knob: `netns == host`"),
    ("new", "the value that is written, as a number or as a text; `new[0]` is its first number"),
    ("nolog", "asks for no events"),
    ("not", "the condition does not hold"),
    ("old", "the value that the knob holds, as a number or as a text; `old[0]` is its first number"),
    ("or", "one of the conditions holds; the second one is not evaluated if the first one does"),
    ("other", "another network namespace than the machine's own; in a test"),
    ("pod", "the name of the pod; in a selector"),
    ("policy", "the name of the policy, which comes first"),
    ("pos", "the file position, its low 32 bits"),
    ("preset", "rules that come with knobgate, by name and version"),
    ("ranges", "a value as a set of numbers: `ranges(new) in 30000..32767`"),
    ("read", "accesses that read the knob"),
    ("set", "writes this text instead: `set write \u{2026} to \"10\"`"),
    ("starts", "`starts with`: the text begins with this text"),
    ("test", "accesses, and what the policy decides about each"),
    ("to", "what `set` and `clamp` write instead"),
    ("uid", "the real user id of the task, as the initial user namespace has it"),
    ("unit", "the name of the systemd unit; in a selector"),
    ("width", "knobs whose handlers keep 64 bits of a number: `width 64 vendor.limit`"),
    ("with", "`starts with`: the text begins with this text"),
    ("write", "accesses that write the knob"),
];

/// What `word` means: a word of the language, an engine, or the name of an errno.
pub(crate) fn word_help(word: &str) -> Option<String> {
    if let Ok(at) = WORDS.binary_search_by_key(&word, |(word, _)| word) {
        return Some(WORDS[at].1.to_owned());
    }
    if let Some(errno) = Errno::from_name(word) {
        return Some(errno_help(errno));
    }
    let engine = knobgate_policy::selector::Engine::ALL.iter().find(|engine| engine.name() == word);
    engine.map(|_| format!("workloads of {word}: `apply if engine == {word}`"))
}

pub(crate) fn errno_help(errno: Errno) -> String {
    format!("{}: {}", errno.number(), errno.description())
}

#[cfg(test)]
mod tests {
    use knobgate_policy::editor::words;

    use super::*;

    #[test]
    fn every_word_is_explained() {
        assert!(WORDS.is_sorted(), "the search needs that");
        for word in words() {
            assert!(word_help(word).is_some(), "{word} has no line in WORDS");
        }
        for (word, _) in WORDS {
            assert!(words().contains(word), "{word} is no word of the language");
        }
        assert_eq!(word_help("EROFS").as_deref(), Some("30: Read-only file system"));
        assert_eq!(word_help("podman").as_deref(), Some("workloads of podman: `apply if engine == podman`"));
        assert_eq!(word_help("nonsense"), None);
    }
}
