//! The checker copes with any input, and quickly.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use knobgate_policy::{
    CheckOptions, DecidedBy, Diagnostic, IncludeError, IncludeLoader, IncludedText, KnobName, Severity,
    Source, evaluate, format, parse, parse_json, print,
};
use proptest::prelude::*;

/// Parses and formats. Checks that the places of all errors are inside the text.
fn check(source: &Source) {
    check_with(source, &CheckOptions::default());
}

fn check_with(source: &Source, options: &CheckOptions<'_>) {
    let (text, diagnostics) = match parse(source.clone(), options) {
        Ok(file) => {
            print(file.policy());
            assert!(format(source).is_ok(), "no mistake gets lost with what is included");
            let alone = Source::new("x", file.source().text()).with_restored_includes();
            for rule in 0..file.policy().rules().len() {
                let start = file.rule_span(rule).expect("its place").start;
                assert_eq!(alone.own_place(start).line, file.source().own_place(start).line);
            }
            let parsed = parse(alone, &CheckOptions::default()).expect("it needs no files");
            assert_eq!(parsed.policy(), file.policy());
            (file.source().clone(), file.warnings().to_vec())
        }
        Err(error) => {
            assert!(error.diagnostics().iter().any(|diagnostic| diagnostic.severity == Severity::Error));
            (error.text().clone(), error.into_iter().collect())
        }
    };
    let _ = format(source);
    for diagnostic in &diagnostics {
        points_inside(&text, diagnostic);
    }
    assert!(diagnostics.is_sorted_by_key(|diagnostic| diagnostic.primary.span.start));
}

fn points_inside(source: &Source, diagnostic: &Diagnostic) {
    let labels = std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary).map(|label| label.span);
    for span in labels.chain(diagnostic.suggestion.iter().map(|suggestion| suggestion.span)) {
        assert!(span.start <= span.end, "{diagnostic:?}");
        assert!(source.text().get(span.range()).is_some(), "{diagnostic:?}");
        let (file, span) = source.locate(span);
        assert!(file.text().get(span.range()).is_some(), "{diagnostic:?}");
        file.line_column(span.start);
    }
}

#[test]
fn a_single_quote_before_a_wide_blank_is_handled() {
    for text in ["'\u{a0}", "'x\u{2003}\n", "' "] {
        check(&Source::new("x", text));
    }
}

const WORDS: &[&str] = &[
    "policy", "x", "mode", "audit", "default", "read", "write", "allow", "deny", "(", ")", "EPERM", "set",
    "clamp", "ignore", "to", "if", "log", "nolog", "log(", "all", "5/s", "test", "\"a\"", "{", "}", "[", "]",
    ",", "..", "1", "-1", "0x10", "new", "old", "count", "and", "or", "not", "in", "matches", "starts",
    "with", "contains", "==", "<", "=>", "=", "!", "&&", "kernel.a", "net.*", "**", "\n", "\r\n", "# c",
    "\n", "\n", "'", "\"", "\\", "\u{e9}", ";", "comm", "pos", "é.{a", "include", "preset",
];

/// What `include` statements consist of, and the comments that they become.
const INCLUDES: &[&str] = &[
    "include \"a\"\n",
    "include \"b\"",
    "\"docker-runtime@1\"",
    "# include \"a\"\n",
    "# end of include \"a\", lines: 99\n",
];

/// Has two files.
#[derive(Debug)]
struct TwoFiles {
    a: String,
    b: String,
}

impl IncludeLoader for TwoFiles {
    fn policy_id(&self) -> Option<PathBuf> {
        None
    }

    fn load(&self, name: &str, _: Option<&Path>, _: usize) -> Result<IncludedText, IncludeError> {
        match name {
            "a" => Ok(IncludedText::new(name, name, self.a.as_str())),
            "b" => Ok(IncludedText::new(name, name, self.b.as_str())),
            _ => Err(IncludeError::Unreadable { name: name.to_owned(), error: "there are two files".into() }),
        }
    }
}

/// Words of the language, with and without spaces between them.
fn words(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec((proptest::sample::select([WORDS, INCLUDES].concat()), any::<bool>()), 0..most)
        .prop_map(|words| {
            words.into_iter().map(|(word, space)| format!("{word}{}", if space { " " } else { "" })).collect()
        })
}

/// Statements without mistakes, in any order.
fn statements() -> impl Strategy<Value = String> {
    const STATEMENTS: &[&str] = &[
        "allow write vm.a if new == 1\n",
        "deny write net.**",
        "  allow read kernel.a # c\r\n",
        "# include \"a\"\n",
        "# end of include \"a\", lines: 99\n",
        "\n",
        "include \"a\"\n",
        " include   \"b\"  # c\r\n",
        "include preset \"docker-runtime@1\"\n",
    ];
    proptest::collection::vec(proptest::sample::select(STATEMENTS), 0..6).prop_map(|lines| {
        let text = lines.concat();
        // Only the last line may lack its end.
        text.replace("net.**", "net.**\n").replacen(
            "net.**\n",
            "net.**",
            usize::from(text.ends_with("net.**")),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_handled(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&Source::from_bytes("x", &bytes));
    }

    #[test]
    fn any_text_is_handled(text in "\\PC{0,80}|[ -~\n\r\t\0]{0,120}") {
        check(&Source::new("x", text));
    }

    #[test]
    fn any_words_of_the_language_are_handled(words in words(60)) {
        check(&Source::new("x", format!("policy x\n{words}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_words_are_handled_in_included_files(policy in words(20), a in words(20), b in words(20)) {
        let options = CheckOptions::default();
        check_with(&Source::new("x", format!("policy x\n{policy}")), &options.includes(&TwoFiles { a, b }));
    }

    #[test]
    fn what_is_included_means_the_same_alone(policy in statements(), a in statements(), b in statements()) {
        let options = CheckOptions::default();
        check_with(&Source::new("x", format!("policy x\n{policy}")), &options.includes(&TwoFiles { a, b }));
    }
}

proptest! {
    #[test]
    fn a_policy_with_a_byte_changed_is_handled(
        policy in knobgate_arbitrary::policy(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = print(&policy).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        check(&Source::from_bytes("x", &bytes));
    }

    #[test]
    fn accesses_to_a_policy_are_decided(
        (policy, access) in knobgate_arbitrary::policy().prop_flat_map(|policy| {
            let access = knobgate_arbitrary::access(&policy);
            (Just(policy), access)
        })
    ) {
        let decision = evaluate(&policy, &access);
        if let knobgate_policy::Verdict::Rewrite(bytes) = decision.verdict {
            let new = access.new.unwrap();
            prop_assert_eq!(bytes.len(), new.len());
            prop_assert_ne!(bytes, new);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn unreachable_rules_never_decide(
        (policy, accesses) in knobgate_arbitrary::policy_with_rules(2..12).prop_flat_map(|policy| {
            // A rule with a condition shadows no other.
            let rules = policy.rules().iter().enumerate().map(|(i, rule)| {
                let condition = rule.condition().filter(|_| i % 2 == 1).cloned();
                rule.clone().with_condition(condition).unwrap()
            });
            let rules: Vec<_> = rules.collect();
            let policy = policy.with_rules(rules).with_tests([]);
            let accesses = proptest::collection::vec(knobgate_arbitrary::access(&policy), 20);
            (Just(policy), accesses)
        })
    ) {
        let file = parse(Source::new("x", print(&policy)), &CheckOptions::default()).unwrap();
        let unreachable: Vec<_> =
            file.warnings().iter().filter(|warning| warning.code == "unreachable-rule").collect();
        for access in accesses {
            if let DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } = evaluate(&policy, &access).by {
                let span = file.rule_span(rule).unwrap();
                prop_assert!(unreachable.iter().all(|warning| warning.primary.span != span), "{access}\n{policy}");
            }
        }
    }
}

#[test]
fn ten_thousand_rules_are_checked_and_so_are_ten_thousand_mistakes() {
    let knobs: Vec<KnobName> =
        (0..2000).map(|i| KnobName::parse(format!("net.ipv4.conf.eth{i}.rp_filter")).unwrap()).collect();
    type Kind = (&'static str, fn(usize) -> String);
    let kinds: [Kind; 8] = [
        ("names", |i| format!("allow write net.ipv4.conf.eth{i}.rp_filter if new in {{1, 2}}")),
        ("unconditional names", |i| format!("deny write net.ipv4.conf.eth{i}.rp_filter, kernel.a{i}")),
        ("subtrees", |i| format!("deny write net.a{i}.**, net.b{i}.*")),
        ("tails", |i| format!("deny write **.a{i}, *.b{i}*.c")),
        ("alternatives", |i| format!("deny read write net.{{a,b,c}}{i}.{{d,e*,f?}}")),
        ("classes that one rule takes", |i| {
            if i < 1_600 {
                format!("allow write a.x{i} if pos == {i}")
            } else {
                "allow write a.**".to_owned()
            }
        }),
        ("classes that two rules take", |i| match i {
            0..1_600 => format!("allow write a.x{i} if pos == {i}"),
            1_600 => "allow write a.**".to_owned(),
            1_601 => "allow read a.**".to_owned(),
            _ => "deny read write a.**".to_owned(),
        }),
        ("mistakes", |i| format!("deny(EPREM) wirte net.a{i} if new = {i}")),
    ];
    for (what, rule) in kinds {
        let mut text = String::from("policy x\n");
        (0..10_000).for_each(|i| writeln!(text, "{}", rule(i)).unwrap());
        let rules = match parse(Source::new("x", text), &CheckOptions::default().knobs(&knobs)) {
            Ok(file) => file.policy().rules().len(),
            Err(error) => {
                assert!(error.diagnostics().len() > 1000, "{what}");
                0
            }
        };
        assert_eq!(rules, if what == "mistakes" { 0 } else { 10_000 }, "{what}");
    }
}

#[test]
fn the_number_of_warnings_is_limited() {
    let knobs = [KnobName::parse("kernel.panic").unwrap()];
    let names: Vec<String> = (0..10_000).map(|i| format!("net.a{i}")).collect();
    for text in [
        format!("policy x\nallow write {}\n", names.join(", ")),
        format!("policy x\ndeny write **\n{}", "deny write kernel.panic\n".repeat(5000)),
        format!("policy x\n{}", "test \"a\" { read kernel.panic => allow }\n".repeat(5000)),
    ] {
        let file = parse(Source::new("x", text), &CheckOptions::default().knobs(&knobs)).unwrap();
        assert_eq!(file.warnings().len(), 1001);
        assert_eq!(file.warnings().last().unwrap().code, "too-many-warnings");
    }
}

#[test]
fn deep_nesting_and_long_patterns_are_errors() {
    for (what, text) in [
        ("parentheses", format!("policy x\nallow write a if {}", "(".repeat(1 << 20))),
        ("nots", format!("policy x\nallow write a if {}", "not ".repeat(1 << 20))),
        ("braces", format!("policy x\nallow write {}", "{a,".repeat(1 << 20))),
        ("backslashes", format!("policy x\nallow write {}", "\\".repeat((1 << 20) + 1))),
        ("a long name", format!("policy x\nallow write {}", "a.".repeat(1 << 20))),
        ("a long text", format!("policy x\nset write a to \"{}", "\\x41".repeat(1 << 20))),
        ("a long integer", format!("policy x\nallow write a if new == {}", "1".repeat(1 << 20))),
        ("a long set", format!("policy x\nallow write a if new in {{{}", "1, ".repeat(1 << 18))),
        ("open sets", format!("policy x\n{}", "allow write a if new in {\n".repeat(1 << 16))),
        ("open tests", format!("policy x\n{}", "test \"x\" {\n".repeat(1 << 16))),
        ("commas", format!("policy x\n{}", "allow write a,\n".repeat(1 << 16))),
        ("semicolons", format!("policy x\n{}", ";".repeat(1 << 20))),
        ("newlines", format!("policy x{}", "\n".repeat(1 << 20))),
        ("comments", format!("policy x\n{}", "# a\n".repeat(1 << 18))),
        ("NULs", "\0".repeat(1 << 20)),
    ] {
        println!("{what}");
        check(&Source::new("x", text));
    }
}

#[test]
fn a_file_beyond_the_limit_is_one_error() {
    let text = " ".repeat(knobgate_policy::limits::FILE_MAX + 1);
    let json = parse_json("x", &text, &CheckOptions::default()).unwrap_err();
    assert_eq!(json.diagnostics()[0].message, "the file has more than 16 MiB");
    assert_eq!(parse(Source::new("x", text), &CheckOptions::default()).unwrap_err().diagnostics().len(), 1);
}
