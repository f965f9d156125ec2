//! Formatting loses nothing, keeps the meaning, and is idempotent.

use knobgate_policy::{CheckOptions, Policy, PolicyFile, Source, arbitrary, format, parse, print};
use proptest::prelude::*;

fn policy(text: &str) -> Policy {
    let file = parse(Source::new("x.knob", text), &CheckOptions::default());
    file.map_or_else(|errors| panic!("{errors:#?}\n{text}"), PolicyFile::into_policy)
}

fn formatted(text: &str) -> String {
    format(&Source::new("x.knob", text)).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

#[test]
fn white_space_is_normalised() {
    insta::assert_snapshot!(formatted(
        "\u{feff}

# The front end's machines.
policy\tweb-tier   # tier 1


mode   audit
default read  allow
default write deny ( EROFS )  nolog



deny  write kernel.core_pattern ,kernel.modprobe          log
allow write net.ipv4.tcp_{rmem,wmem}   if 4096<=new [0]<= new[ 1 ]<=6_291_456   # bytes
allow write net/ipv4/conf/*/rp_filter  if new in{1,0x2}  # strict, loose
clamp write net.core.somaxconn         to 128 .. 65535
clamp write a.b to[ 1 .. 2,..,3.. ] if (not(new==1)) log
set   write vm.swappiness              to \"1\\x30\\x07\"
# Several lines.

allow write a.b,   # one
      # two

  c.d if new in {  1,
2,   # three

      # four
  3,} and
 (old == 1 or
old == count( new ))
# Before the test.
test \"a test\" {   # opens

    write kernel.core_pattern \"|/tmp/x\" old  \"4096\"  => deny EPERM # no

  # before the end
}
test \"short\" { read   kernel.ostype => allow }
test \"none\" {}


# The end.


"
    ));
}

#[test]
fn line_ends_are_kept() {
    assert_eq!(formatted("policy x\r\nallow  read a.b # c\r\n"), "policy x\r\nallow read a.b  # c\r\n");
    assert_eq!(formatted("policy x\nallow  read a.b"), "policy x\nallow read a.b\n");
}

#[test]
fn a_text_with_syntax_errors_is_not_formatted() {
    assert!(format(&Source::new("x", "policy x\nalow read a.b\n")).is_err());
    assert!(format(&Source::from_bytes("x", b"policy x\n#\xff\n")).is_err());
}

/// A policy's text with white space and comments inserted where they have no meaning.
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
        // An escaped character has no meaning.
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
    fn formatting_keeps_the_policy_and_the_comments_and_is_idempotent(
        policy_ in arbitrary::policy(),
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
