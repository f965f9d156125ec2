//! Layout: nothing is lost, nothing changes its meaning, and what is laid out stays as it is.

use knobgate_policy::{CheckOptions, Policy, PolicyFile, Source, format, parse, print};
use proptest::prelude::*;

fn policy(text: &str) -> Policy {
    let file = parse(Source::new("x.knob", text), &CheckOptions::default());
    file.map_or_else(|errors| panic!("{errors:#?}\n{text}"), PolicyFile::into_policy)
}

fn formatted(text: &str) -> String {
    format(&Source::new("x.knob", text)).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

/// A policy's text with white space and comments put where they mean nothing.
fn scattered(text: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut scattered = String::new();
    let mut in_text = false;
    let mut previous = '\n';
    for c in text.chars() {
        if c == '"' && previous != '\\' {
            in_text = !in_text;
        }
        scattered.push(c);
        if !in_text {
            scattered.push_str(match (c, choices.next().copied().unwrap_or_default() % 8) {
                (' ', 0) => "  \t",
                (' ', 1) if previous == ',' => "  # comment, with \"quotes\n\n\n   # another\n ",
                ('\n', 0) => "\n \n\n",
                ('\n', 1) => "   # of its own\n",
                ('\n', 2) => "#\n\t",
                _ => "",
            });
        }
        // What is escaped means nothing.
        previous = if previous == '\\' { ' ' } else { c };
    }
    scattered
}

fn comments(text: &str) -> usize {
    text.matches("# comment, with").count()
        + text.matches("# another").count()
        + text.matches("# of its own").count()
}

proptest! {
    #[test]
    fn layout_keeps_the_policy_and_the_comments_and_is_final(
        policy_ in knobgate_arbitrary::policy(),
        choices in proptest::collection::vec(any::<u8>(), 1..60),
    ) {
        let text = scattered(&print(&policy_), &choices);
        let once = formatted(&text);
        prop_assert_eq!(policy(&once), policy_, "{}\n{}", text, once);
        prop_assert_eq!(comments(&once), comments(&text), "{}\n{}", text, once);
        prop_assert_eq!(&formatted(&once), &once, "{}", text);
        prop_assert!(!once.contains("\n\n\n") && !once.lines().any(|line| line.ends_with([' ', '\t'])), "{}", once);
    }
}
