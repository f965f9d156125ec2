//! The page is one document with one script, one style and its data, whatever names and values are.

mod common;

use common::{HOSTILE, event, hostile, page, report};
use knobgate_report::Head;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What of the page is between this start and this end. There is one of it.
fn only<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let mut parts = page.split(start);
    let (_, rest, none) = (parts.next(), parts.next().expect("the start"), parts.next());
    assert!(none.is_none(), "{start} is there twice");
    rest.split_once(end).expect("the end").0
}

/// The tags of the page, without what is in its style, its script and its data.
fn tags(page: &str) -> Vec<&str> {
    let data = only(page, DATA, "</script>");
    assert!(!data.contains(['<', '>', '&']), "{data}");
    let (before, rest) = page.split_once("<style>").expect("a style");
    let rest = rest.split_once("</style>").expect("its end").1;
    let (between, rest) = rest.split_once(DATA).expect("the data");
    let after =
        rest.split_once("<script>").expect("the script").1.split_once("</script>").expect("its end").1;
    let tags = [before, between, after].map(|part| part.split('<').skip(1));
    tags.into_iter().flatten().map(|tag| tag.split('>').next().unwrap_or_default()).collect()
}

/// The element with the data.
const DATA: &str = "<script type=\"application/json\" id=\"data\">";

fn data(page: &str) -> Value {
    let data = only(page, DATA, "</script>");
    serde_json::from_str(data).expect("JSON")
}

proptest! {
    #[test]
    fn no_text_becomes_an_element(texts in vec(prop_oneof![".*", "[<>!/\"'&a-z -]{0,40}", select(&HOSTILE[..])], 1..5)) {
        let head = |texts: &[String]| Head { sources: texts.to_vec(), filter: texts.first().cloned(), made: None };
        let plain: Vec<String> = (0..texts.len()).map(|number| format!("name{number}")).collect();
        let of = |texts: &[String]| {
            let lines: Vec<Value> = (0..).zip(texts).map(|(second, text)| hostile(second, text)).collect();
            page(&report(&lines), &head(texts))
        };
        let mut texts = texts;
        texts.sort();
        texts.dedup();
        let hostile_page = of(&texts);
        let plain_page = of(&plain[..texts.len()]);
        prop_assert_eq!(tags(&hostile_page), tags(&plain_page));
        let is_hidden = |c: char| c != '\n' && knobgate_events::terminal::is_interpreted(c);
        prop_assert!(!hostile_page.contains(is_hidden));

        let (data, plain) = (data(&hostile_page), data(&plain_page));
        prop_assert_eq!(data["classes"].as_array().unwrap().len(), plain["classes"].as_array().unwrap().len());
        let strings = data["strings"].as_array().unwrap();
        for text in &texts {
            let escaped = knobgate_events::terminal::escape(text);
            // As the name of a task, in quotes where it could be taken for something else.
            let escaped = escaped.replace('\\', "");
            let is_it = |string: &Value| string.as_str().unwrap().replace('\\', "").contains(&escaped);
            prop_assert!(strings.iter().any(is_it), "{:?} is not in {:?}", text, strings);
        }
    }
}

fn select(texts: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(texts).prop_map(str::to_owned).boxed()
}

#[test]
fn the_policy_of_the_page_has_the_hashes_of_what_is_written() {
    use base64::Engine;
    let page = page(&report(&[event(0)]), &Head::default());
    let policy = only(&page, "<meta http-equiv=\"Content-Security-Policy\" content=\"", "\"");
    for (name, start, end) in [("script-src", "<script>", "</script>"), ("style-src", "<style>", "</style>")]
    {
        let hash = Sha256::digest(only(&page, start, end));
        let source = format!("{name} 'sha256-{}'", base64::prelude::BASE64_STANDARD.encode(hash));
        assert!(policy.contains(&source), "{policy} has no {source}");
    }
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    // The name of a namespace is no address to load from.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for text in [" style=", " onclick=", " src=", "http://", "https://", "innerHTML", "eval("] {
        assert!(!page.contains(text), "{text}");
    }
}

#[test]
fn links_lead_to_what_is_shown() {
    let page = page(&report(&[event(0)]), &Head::default());
    for link in page.split("<li").skip(1).filter_map(|item| item.split_once("<a href=\"#")) {
        let (before, id) = (link.0, link.1.split('"').next().unwrap());
        let section = only(&page, &format!("<section id=\"{id}\""), ">");
        assert_eq!(before.contains(" hidden"), section.contains(" hidden"), "{id}");
    }
}

#[test]
fn values_are_numbers_where_the_kernel_reads_them_so() {
    for (value, expected) in [
        ("60\n", Some("60")),
        ("010\n", Some("8")),
        ("0x10\n", Some("16")),
        ("9223372036854775807\n", Some("9223372036854775807")),
        ("-1", Some("-1")),
        ("1 2\n", None),
        ("core\n", None),
        ("\n", None),
    ] {
        let mut line = event(0);
        line["old"]["text"] = value.into();
        let data = data(&page(&report(&[line]), &Head::default()));
        let old = data["values"][0]["changes"][0]["old"].to_string();
        assert_eq!(data["numbers"][&old].as_str(), expected, "{value:?}");
    }
}

#[test]
fn without_a_script_the_page_has_the_summary_and_the_denials() {
    let page = page(&report(&[event(0), hostile(1, "<b>")]), &Head::default());
    let before = page.split("<script").next().unwrap();
    for text in ["2 events, 2 denied", "2026-11-29 00:00:00", "default write deny", "&lt;b&gt;", "<noscript>"]
    {
        assert!(before.contains(text), "{text}");
    }
}

#[test]
fn a_page_without_events_says_so() {
    let page = page(&report(&[]), &Head::default());
    assert!(page.contains("<h1>No events</h1>") && page.contains("No rule has sent an event."));
    assert_eq!(data(&page)["classes"], Value::Array(Vec::new()));
}
