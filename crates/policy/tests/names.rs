//! Names and patterns: their notation, and what they match.

use knobgate_policy::{CheckOptions, KnobName, KnobPattern, Piece, Source, TextGlob, limits, parse};
use proptest::prelude::*;

#[test]
fn the_first_separator_determines_the_notation() {
    for (text, path, canonical) in [
        ("net.ipv4.tcp_mem", "net/ipv4/tcp_mem", "net.ipv4.tcp_mem"),
        ("net/ipv4/tcp_mem", "net/ipv4/tcp_mem", "net.ipv4.tcp_mem"),
        (
            "net.ipv4.conf.eno2/100.rp_filter",
            "net/ipv4/conf/eno2.100/rp_filter",
            "net.ipv4.conf.eno2/100.rp_filter",
        ),
        (
            "net/ipv4/conf/eno2.100/rp_filter",
            "net/ipv4/conf/eno2.100/rp_filter",
            "net.ipv4.conf.eno2/100.rp_filter",
        ),
        ("a.b\\.c", "a/b.c", "a.b/c"),
        ("a.b\\/c", "a/b.c", "a.b/c"),
        ("a\\.b.c", "a.b/c", "a\\.b.c"),
        ("a\\.b/c", "a.b/c", "a\\.b.c"),
        ("a.\\x41\\ \\#\\*", "a/A #*", "a.A\\x20\\#\\*"),
        ("log", "log", "\\x6cog"),
        ("\u{e9}.b", "\u{e9}/b", "\u{e9}.b"),
    ] {
        let name = KnobName::parse(text).unwrap();
        assert_eq!(name.as_bytes(), path.as_bytes(), "{text}");
        assert_eq!(name.to_string(), canonical, "{text}");
        assert_eq!(KnobName::from_path(path), Ok(name), "{text}");
    }
}

#[test]
fn a_path_is_a_name_only_if_its_components_are_valid() {
    for path in ["", "/a", "a/", "a//b", "a\0b"] {
        assert!(KnobName::from_path(path).is_err(), "{path:?}");
    }
}

#[test]
fn stars_question_marks_and_classes_stay_inside_a_component() {
    for (pattern, name, expected) in [
        ("net.*.x", "net/core/x", true),
        ("net.*.x", "net/core/core/x", false),
        ("net.*", "net/", true),
        ("net.?", "net/a", true),
        ("net.a?b", "net/a/b", false),
        ("net.a[!x]b", "net/a/b", false),
        ("net.a[[]b", "net/a[b", true),
        ("net.a[{]b", "net/a{b", true),
        ("net.a[+-9]b", "net/a/b", false),
        ("net.a[+-9]b", "net/a5b", true),
        ("net.**", "net/a/b", true),
        ("net.**", "net/", true),
        ("net.**", "net", false),
        ("net**", "net", true),
        ("**.rp_filter", "net/ipv4/conf/eth0.1/rp_filter", true),
        ("**.rp_filter", "rp_filter", false),
        ("**", "", true),
        ("net.{ipv4,ipv6.conf}.*", "net/ipv6/conf/all", true),
        ("net.ipv4.tcp_{,r,w}mem", "net/ipv4/tcp_mem", true),
        ("net.{a,{b,c}d}", "net/cd", true),
        ("net.{a,{b,c}d}", "net/c", false),
        ("net.\\*", "net/*", true),
        ("net.\\*", "net/a", false),
        ("net/conf/*.100/x", "net/conf/eno2.100/x", true),
    ] {
        let pattern = KnobPattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches(name.as_bytes()), expected, "{pattern} and {name}");
    }
}

#[test]
fn in_globs_for_texts_a_star_matches_anything() {
    for (glob, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("a*b", "a/x y/b", true),
        ("a**b", "a/x y/b", true),
        ("a?b", "a/b", true),
        ("[!a]", "/", true),
        ("[./]", "/", true),
        ("a,b", "a,b", true),
        ("{a\\,b,c}", "a,b", true),
        ("\\\\", "\\", true),
    ] {
        assert_eq!(TextGlob::parse(glob).unwrap().matches(text.as_bytes()), expected, "{glob} and {text}");
    }
    assert_eq!(TextGlob::parse("a**b"), TextGlob::parse("a*b"));
}

#[test]
fn different_notations_of_the_same_pieces_are_equal() {
    for (one, other) in [
        ("a.b", "a/b"),
        ("a.***", "a.**"),
        ("a.{b}c", "a.bc"),
        ("a.[cba]", "a.[a-c]"),
        ("a.[a-bb-d]", "a.[a-d]"),
    ] {
        assert_eq!(KnobPattern::parse(one), KnobPattern::parse(other), "{one} and {other}");
    }
    assert_eq!(KnobPattern::parse("a.b*").unwrap().pieces(), [Piece::Literal(b"a/b".to_vec()), Piece::Star]);
}

#[test]
fn only_double_stars_match_every_name() {
    for (pattern, expected) in
        [("**", true), ("****", true), ("*", false), ("**.a", false), ("{**,a}", false)]
    {
        assert_eq!(KnobPattern::parse(pattern).unwrap().matches_every_name(), expected, "{pattern}");
    }
}

#[test]
fn an_escape_counts_as_one_byte() {
    let longest = "\\x41".repeat(limits::PATTERN_MAX);
    assert!(KnobPattern::parse(&longest).is_ok());
    assert!(KnobPattern::parse(longest + "a").is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_an_error_inside_it(text in "[a-b./*?{},\\[\\]!\\\\x2-]{0,20}") {
        for error in [
            KnobPattern::parse(&text).err(),
            KnobName::parse(&text).err(),
            TextGlob::parse(&text).err(),
        ].into_iter().flatten() {
            prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{error:?}");
        }
        if let Ok(pattern) = KnobPattern::parse(&text) {
            prop_assert_eq!(KnobPattern::parse(pattern.to_string()), Ok(pattern));
        }
    }
}

#[test]
fn a_comma_after_a_class_is_between_two_names_whatever_the_class_has() {
    let text = "policy x\nallow write a[[]b, c[{]d, {e[}],f}, g[\\]]\n";
    let file = parse(Source::new("x.knob", text), &CheckOptions::default()).unwrap();
    let patterns: Vec<String> = file.policy().rules()[0].patterns().iter().map(ToString::to_string).collect();
    assert_eq!(patterns, [r"a[\[]b", r"c[\{]d", r"{e[\}],f}", r"g[\]]"]);
}
