//! The TextMate grammar of packaging/editors: it has all words of the language, and gives every token of the examples the kind that
//! the parser gives it.
//!
//! The tokenizer here does what the grammar needs of TextMate's: rules with one expression, and with a beginning and an end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fancy_regex::{Match, Regex};
use knobgate_policy::editor::{self, SyntaxToken, SyntaxTokenKind};
use knobgate_policy::{Source, presets};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn grammar() -> Value {
    let path = Path::new(ROOT).join("packaging/editors/vscode/knob.tmLanguage.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A rule of the grammar.
struct Rule {
    scope: String,
    expression: Regex,
    /// The scopes of groups.
    captures: Vec<(usize, String)>,
    /// What ends it, and the rules inside.
    end: Option<(Regex, Vec<Rule>)>,
}

impl Rule {
    fn of(rule: &Value) -> Self {
        let regex = |key: &str| {
            let text = rule[key].as_str()?;
            Some(Regex::new(text).unwrap_or_else(|error| panic!("{text}: {error}")))
        };
        let captures = rule["captures"].as_object().into_iter().flatten();
        Self {
            scope: rule["name"].as_str().unwrap_or_default().to_owned(),
            expression: regex("match").or_else(|| regex("begin")).expect("an expression"),
            captures: captures
                .map(|(group, scope)| (group.parse().unwrap(), scope["name"].as_str().unwrap().to_owned()))
                .collect(),
            end: regex("end").map(|end| (end, rules(&rule["patterns"]))),
        }
    }
}

fn rules(patterns: &Value) -> Vec<Rule> {
    let grammar = grammar();
    let rule = |pattern: &Value| match pattern["include"].as_str() {
        Some(include) => Rule::of(&grammar["repository"][include.strip_prefix('#').unwrap()]),
        None => Rule::of(pattern),
    };
    patterns.as_array().unwrap().iter().map(rule).collect()
}

/// Gives each byte of `line` that a rule matches the rule's scope.
fn scopes<'r>(line: &str, rules: &'r [Rule]) -> Vec<&'r str> {
    let mut scopes = vec![""; line.len()];
    let mut at = 0;
    while at < line.len() {
        // The first match wins, and of several at one place that of the first rule.
        let found = |rule: &'r Rule| {
            let captures = rule.expression.captures_from_pos(line, at).unwrap()?;
            Some((captures.get(0).unwrap().start(), rule, captures))
        };
        let Some((start, rule, captures)) = rules.iter().filter_map(found).min_by_key(|(start, ..)| *start)
        else {
            break;
        };
        let mut end = captures.get(0).unwrap().end();
        if let Some((expression, inner)) = &rule.end {
            let begun = end;
            loop {
                let close =
                    expression.find_from_pos(line, end).unwrap().expect("the end of the line, at least");
                let inside =
                    inner.iter().filter_map(|rule| rule.expression.find_from_pos(line, end).unwrap());
                match inside.min_by_key(Match::start).filter(|found| found.start() < close.start()) {
                    Some(found) => end = found.end(),
                    None => {
                        end = close.end();
                        break;
                    }
                }
            }
            assert!(end >= begun);
        }
        scopes[start..end].fill(&rule.scope);
        for (group, scope) in &rule.captures {
            if let Some(group) = captures.get(*group) {
                scopes[group.range()].fill(scope);
            }
        }
        at = end.max(at + 1);
        while !line.is_char_boundary(at) {
            at += 1;
        }
    }
    scopes
}

#[test]
fn the_words_are_those_of_the_language() {
    let grammar = grammar();
    let mut found = BTreeSet::new();
    for (name, rule) in grammar["repository"].as_object().unwrap() {
        let Some(list) = rule["match"].as_str().and_then(|text| text.split_once("(?:")) else { continue };
        let list = list.1.split(')').next().unwrap();
        let is_words = list.split('|').all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
        if is_words {
            found.extend(list.split('|').map(str::to_owned));
        } else {
            assert!(!["action", "kind", "clause", "statement"].contains(&name.as_str()), "{name}: {list}");
        }
    }
    let words: BTreeSet<String> = editor::words().into_iter().map(str::to_owned).collect();
    assert_eq!(found, words);
}

/// The examples and presets, by name.
fn policies() -> Vec<(String, String)> {
    let directory = fs::read_dir(Path::new(ROOT).join("examples")).unwrap();
    let paths = directory.map(|entry| entry.unwrap().path());
    let examples = paths.filter(|path| path.extension().is_some_and(|extension| extension == "knob"));
    let examples = examples.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()));
    examples
        .chain(presets::all().iter().map(|preset| (preset.to_string(), preset.text().to_owned())))
        .collect()
}

#[test]
fn every_token_of_the_examples_has_its_kind() {
    let rules = rules(&grammar()["patterns"]);
    let mut checked = 0;
    let others = (
        "this text".to_owned(),
        "policy policy\nmode audit\nwidth 64 vendor.limit, net/x/limit\ndefault read deny(EROFS) log(100/s)\n\
         apply if engine in {docker, podman} and not label(\"app\") == \"web.*\"\n\
         deny write **, vm.set, net.ipv4.conf.\\*\\*.rp_filter, **mem, [kv]*.x, net.{a,b{c,d}}.allow nolog\n\
         clamp write kernel.default to [4096..8192,..,1..2, -1..0x10] log(all) # a.b \"c\"\n\
         set write net.a-b.to to \"1\\n# if\\\"\" if comm starts with \"a\" or count(old) == 010\n\
         test \"\u{e9} # not a comment\" {\n  write net/ipv4/conf/eno2.100/rp_filter \"1\" old \"2\" => deny EPERM\n}\n"
            .to_owned(),
    );
    for (name, text) in policies().into_iter().chain([others]) {
        let source = Source::new(name.as_str(), text.as_str());
        for SyntaxToken { kind, span, .. } in editor::tokens(&source) {
            let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
            let line = text[line_start..].lines().next().unwrap();
            let token = source.slice(span);
            let expected: &[&str] = match kind {
                SyntaxTokenKind::Word => &["keyword.", "storage.type.", "constant.", "variable.language."],
                SyntaxTokenKind::PolicyName => &["entity.name.type."],
                // Without a separator, a name looks like a word.
                SyntaxTokenKind::Knob if token.contains(['.', '/', '*']) => &["entity.name.tag."],
                SyntaxTokenKind::Integer => &["constant.numeric."],
                SyntaxTokenKind::Text => &["string.quoted."],
                _ => continue,
            };
            // The `s` of a limit is a unit.
            if kind == SyntaxTokenKind::Word && token == "s" {
                continue;
            }
            let found = scopes(line, &rules);
            for scope in &found[span.start - line_start..span.end - line_start] {
                assert!(
                    expected.iter().any(|expected| scope.starts_with(expected)),
                    "{name}: {scope:?} for {kind:?} {token} in {line}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked} tokens");
}

#[test]
fn comments_and_escapes_are_told_apart() {
    let rules = rules(&grammar()["patterns"]);
    for (line, part, scope) in [
        ("# allow read \"x\" net.a", "read", "comment.line.number-sign.knob"),
        ("allow read a.b # net.c", "net.c", "comment.line.number-sign.knob"),
        ("allow read a.b if new == \"#\" # x", "\"#\"", "string.quoted.double.knob"),
        ("set write a.b to \"unclosed", "unclosed", "string.quoted.double.knob"),
        ("write a.b \"x\" => allow", "=>", "keyword.operator.knob"),
        ("clamp write a.b to 1..2", "..", "keyword.operator.knob"),
        ("deny(EACCES) write a.b", "EACCES", "constant.other.errno.knob"),
    ] {
        let at = line.find(part).unwrap();
        assert!(scopes(line, &rules)[at..at + part.len()].iter().all(|found| *found == scope), "{line}");
    }
    let text = &grammar()["repository"]["text"]["patterns"];
    let (escape, other) = (Rule::of(&text[0]), Rule::of(&text[1]));
    for escaped in ["\\n", "\\t", "\\r", "\\0", "\\\"", "\\\\", "\\x7f"] {
        assert!(escape.expression.is_match(escaped).unwrap(), "{escaped}");
    }
    for wrong in ["\\q", "\\x7", "\\u"] {
        assert!(
            !escape.expression.is_match(wrong).unwrap() && other.expression.is_match(wrong).unwrap(),
            "{wrong}"
        );
    }
}
