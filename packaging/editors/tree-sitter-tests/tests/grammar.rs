//! The tree-sitter grammar of policies: it parses what knobgate's parser parses, its highlights are what the parser says of each token,
//! and its generated files are up to date.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use knobgate_policy::editor::{self, SyntaxToken, SyntaxTokenKind};
use knobgate_policy::{Source, format, presets};
use knobgate_tree_sitter_tests::{files, generate, grammar};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tree_sitter::{Language, Node, Parser, Query, QueryCursor, StreamingIterator, Tree};
use tree_sitter_loader::{Loader, TreeSitterJSON};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");

/// What no example has.
const ODD: &str = r#"policy policy
mode audit
width 64 vendor.limit,

  net/x/limit
default read deny(EROFS) log(100/s)
default write allow nolog
apply if engine in {docker, podman,
  crio # not a name
  ,
} and not label("app") == "web.*" or
  (cgroup matches "/a/**"
    and not
   pod
   in { "a"
   , "b" } ) and "x" != image
deny write **, vm.set, net.ipv4.conf.\*\*.rp_filter, **mem, [kv]*.x, net.{a,b{c,d}}.allow nolog
clamp write kernel.default to [4096..8192,..,1..2, -1..0x10
 , 5
 ..
 # x
 6 ,] log(all) # a.b "c"
clamp write a to 0_7..
set write net.a-b.to to "1\n# if\"\\" if comm starts with "a" or count(old) == 010 and new[1] != 1
allow read write a.\x6cog, \x6cog, [!a-z]b, {,a,{b,},}x, \,a, a\ b, é.ü\é, ?*, [\]]x, x[!^]{**,?}, a[[]b
allow write read written.a, x log
allow write a,b if(new&1==0)log
ignore write a if ( new & 0x1f0 == 0 and ( each(new) & 6 != 1 or
 old[
 0
 ] & 1 <= 3 ) ) and not not (count ( new ) < 3 <= old <= 5 and (
   new in [ 1 .. # x
   2, 3 ] or comm in { "a" } or
   comm matches
   "a" or netns
   ==
   host)) nolog
allow write a if new in ..5 or new in {1, 4..8, 100.., ..3, .., -0X1f} or new == [1,2] and old in [.., 1, 2..3,]
allow write a if "a" == new and 1 < new and new contains "" and netns == host or netns != host
allow write a if ranges(new) in {8080}	log
include "x"
include preset "x@1"
test "é # not a comment \0\t\r\n\x7F" {
  write net/ipv4/conf/eno2.100/rp_filter "1" old "2" pos 5 uid 0x1 gid 7 comm "x" netns other => deny EPERM

  # a comment
  read \x6cog=>allow
  read a netns host => deny }
test "one line" { write a.b "" => set "1\n\x00" }
test "" {}
"#;

/// Files with errors in their syntax.
const MISTAKEN: [&str; 2] =
    ["cli/tests/policies/including-wrong.knob", "cli/tests/policies/many-errors.knob"];

/// The captures that mean something to both Neovim and Helix, if only by what is before a dot.
const CAPTURES: [&str; 17] = [
    "comment",
    "constant",
    "constant.builtin",
    "constant.character.escape",
    "constant.numeric",
    "function.builtin",
    "keyword",
    "keyword.operator",
    "operator",
    "punctuation.bracket",
    "punctuation.delimiter",
    "punctuation.special",
    "string",
    "tag",
    "type",
    "type.builtin",
    "variable.builtin",
];

/// The language, compiled by what Rust links with.
static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let source = grammar().join("src");
    let library = tempfile::Builder::new().suffix(".so").tempfile().unwrap().into_temp_path();
    let output = Command::new("cc")
        .args(["-std=c11", "-O1", "-shared", "-fPIC", "-I"])
        .args([&source, &source.join("parser.c"), Path::new("-o"), &library])
        .output()
        .expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Loader::load_language(&library, "tree_sitter_knob").unwrap()
});

fn query(name: &str) -> Query {
    let text = fs::read_to_string(grammar().join("queries").join(name)).unwrap();
    Query::new(&LANGUAGE, &text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parse(text: &str) -> Tree {
    let mut parser = Parser::new();
    parser.set_language(&LANGUAGE).unwrap();
    parser.parse(text, None).unwrap()
}

/// The lowest node with the first error.
fn error_in(node: Node<'_>) -> Node<'_> {
    let children = (0..node.child_count()).filter_map(|child| node.child(child));
    children.into_iter().find(|child| child.has_error() || child.is_missing()).map_or(node, error_in)
}

/// The capture of each byte of `text`: that of the innermost node that has one.
fn captures(text: &str, tree: &Tree) -> Result<Vec<&'static str>, String> {
    static QUERY: LazyLock<Query> = LazyLock::new(|| query("highlights.scm"));
    let mut cursor = QueryCursor::new();
    let mut found = cursor.captures(&QUERY, tree.root_node(), text.as_bytes());
    let mut nodes = Vec::new();
    while let Some((matched, index)) = found.next() {
        let capture = matched.captures()[*index];
        let depth = std::iter::successors(Some(capture.node), Node::parent).count();
        nodes.push((depth, capture.node.id(), capture.node.byte_range(), capture.index));
    }
    nodes.sort_by_key(|(depth, id, ..)| (*depth, *id));
    if let Some(twice) = nodes.windows(2).find(|pair| pair[0].1 == pair[1].1) {
        return Err(format!("{} is captured twice", &text[twice[0].2.clone()]));
    }
    let mut captures = vec![""; text.len()];
    for (.., range, capture) in nodes {
        captures[range].fill(QUERY.capture_names()[capture as usize]);
    }
    Ok(captures)
}

/// That a policy without errors in its syntax has none here, and the captures of its tokens.
fn check(name: &str, text: &str) -> Result<(), String> {
    let tree = parse(text);
    if tree.root_node().has_error() {
        let error = error_in(tree.root_node());
        let line = error.start_position().row + 1;
        return Err(format!("{name}:{line}: an error in {:?}\n{text}", &text[error.byte_range()]));
    }
    let captures = captures(text, &tree)?;
    let source = Source::new(name, text);
    for SyntaxToken { kind, span, .. } in editor::tokens(&source) {
        let expected: &[&str] = match kind {
            SyntaxTokenKind::Word => &[
                "keyword",
                "keyword.operator",
                "type.builtin",
                "constant",
                "constant.builtin",
                "variable.builtin",
                "function.builtin",
            ],
            SyntaxTokenKind::PolicyName => &["type"],
            SyntaxTokenKind::Knob => &["tag", "punctuation.special", "constant.character.escape"],
            SyntaxTokenKind::Integer => &["constant.numeric"],
            SyntaxTokenKind::Text => &["string", "constant.character.escape"],
            _ => &["operator", "punctuation.bracket", "punctuation.delimiter"],
        };
        for capture in &captures[span.range()] {
            if !expected.contains(capture) {
                let token = source.slice(span);
                return Err(format!("{name}: {capture:?} for {kind:?} {token} in\n{text}"));
            }
        }
    }
    Ok(())
}

/// The files below `directory` whose names end in `end`.
fn paths(directory: &str, end: &str) -> Vec<PathBuf> {
    let mut directories = vec![Path::new(ROOT).join(directory)];
    let mut paths = Vec::new();
    while let Some(next) = directories.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == end) {
                paths.push(path);
            }
        }
    }
    paths
}

/// The policies in the blocks of a document, without those that show errors.
fn blocks(document: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let inside = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let text = inside.fold(String::new(), |text, line| text + line + "\n");
        if info.starts_with("knob") && !info.contains("fails=") {
            blocks.push(text);
        }
    }
    blocks
}

/// Every text of the project that has no error in its syntax, as it is, as `knobgate fmt` lays it out, and with other ends of lines.
fn policies() -> Vec<(String, String)> {
    let mut texts = vec![("odd".to_owned(), ODD.to_owned())];
    texts.extend(presets::all().iter().map(|preset| (preset.to_string(), preset.text().to_owned())));
    for path in paths("examples", "knob").into_iter().chain(paths("crates", "knob")) {
        if !MISTAKEN.iter().any(|mistaken| path.ends_with(mistaken)) {
            texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    let documents = paths("docs", "md").into_iter().chain([Path::new(ROOT).join("README.md")]);
    for path in documents {
        let blocks = blocks(&fs::read_to_string(&path).unwrap());
        texts.extend(blocks.into_iter().map(|text| (path.display().to_string(), text)));
    }
    assert!(texts.len() > 100, "{} texts", texts.len());
    let policies = texts.into_iter().map(|(name, text)| {
        let formatted = format(&Source::new(name.as_str(), text.as_str()));
        let formatted = formatted.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        (name, text, formatted)
    });
    let variants = |(name, text, formatted): (String, String, String)| {
        let crlf = text.replace('\n', "\r\n");
        let unfinished = text.trim_end().to_owned();
        let variants = [formatted, crlf, unfinished, format!("\u{feff}{text}"), text];
        variants.into_iter().map(move |text| (name.clone(), text))
    };
    policies.flat_map(variants).collect()
}

#[test]
fn every_policy_parses_and_its_tokens_have_their_kinds() {
    for (name, text) in policies() {
        check(&name, &text).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn random_policies_parse_and_their_tokens_have_their_kinds() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let checked = runner.run(&knobgate_arbitrary::policy(), |policy| {
        check("a random policy", &policy.to_string()).map_err(TestCaseError::fail)
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn parts_of_lines_have_their_captures() {
    for (line, part, capture) in [
        ("# allow read \"x\" net.a", "read", "comment"),
        ("allow read a.b # net.c", "net.c", "comment"),
        ("allow read a.b if new == \"#\" # x", "\"#\"", "string"),
        ("allow read a.b if new == \"#\" # x", "# x", "comment"),
        ("set write a.b to \"a\\n\"", "\\n", "constant.character.escape"),
        ("test \"x\" { write a.b \"x\" => allow }", "=>", "operator"),
        ("test \"x\" { write a.b \"x\" => allow }", "write", "type.builtin"),
        ("clamp write a.b to 1..2", "..", "operator"),
        ("clamp write a.b to 1..2", "clamp", "keyword"),
        ("deny(EACCES) write a.b", "EACCES", "constant"),
        ("deny write net.*.{a,b}", "*", "punctuation.special"),
        ("deny write net.*.{a,b}", "{", "punctuation.special"),
        ("deny write net.*.{a,b}", "net.", "tag"),
        ("deny write read.write", "read.write", "tag"),
        ("allow read log", "log", "tag"),
        ("policy default", "default", "type"),
        ("mode audit", "audit", "constant.builtin"),
        ("apply if engine == podman", "engine", "variable.builtin"),
        ("apply if engine == podman", "podman", "constant.builtin"),
        ("apply if label(\"a\") starts with \"b\"", "label", "function.builtin"),
        ("apply if label(\"a\") starts with \"b\"", "starts", "keyword.operator"),
        ("deny write net.** if netns != host and each(new) & 6 == 6", "netns", "variable.builtin"),
        ("deny write net.** if netns != host and each(new) & 6 == 6", "each", "function.builtin"),
        ("deny write net.** if netns != host and each(new) & 6 == 6", "&", "operator"),
        ("deny write net.** if netns != host and each(new) & 6 == 6", "and", "keyword.operator"),
    ] {
        let at = line.find(part).unwrap();
        let captures = captures(line, &parse(line)).unwrap();
        let found = &captures[at..at + part.len()];
        assert!(found.iter().all(|found| *found == capture), "{part:?} in {line:?} is {found:?}");
    }
}

#[test]
fn what_comes_after_a_mistake_is_parsed() {
    for mistake in [
        "deny write",
        "deny write net.** if",
        "allow write a.b if new = 1",
        "allow write a.b if new == \"unclosed",
        "allow write net.{a,b",
        "deny(1) write a.b",
        "alow write a.b",
        "clamp write a.b to 1-2",
        "mode on",
        "default write",
        "test \"x\" {\n  write a.b \"1\" = deny\n}",
        "test \"x\" {\n  write a.b =>\n  read a.b => allow\n}",
        "include common.knob",
        "include \"bad \\q escape\"",
    ] {
        let text = format!("policy x\n{mistake}\n\nclamp write last.rule to 1..2\nallow read the.end\n");
        let tree = parse(&text);
        let root = tree.root_node();
        let last = root.child(root.child_count() - 1).unwrap();
        assert!(root.has_error(), "{mistake}: {}", root.to_sexp());
        assert!(last.kind() == "rule" && !last.has_error(), "{mistake}: {}", root.to_sexp());
    }
}

#[test]
fn the_words_are_those_of_the_language() {
    let kinds = (1..LANGUAGE.node_kind_count() as u16).filter(|&kind| !LANGUAGE.node_kind_is_named(kind));
    let kinds = kinds.filter_map(|kind| LANGUAGE.node_kind_for_id(kind));
    let found = kinds.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase()));
    let mut words = editor::words();
    words.insert("s"); // `100/s`
    assert_eq!(found.collect::<BTreeSet<_>>(), words);
}

#[test]
fn the_queries_are_for_both_editors() {
    let highlights = query("highlights.scm");
    assert_eq!(highlights.capture_names().iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(CAPTURES));
    assert_eq!(query("folds.scm").capture_names(), ["fold"]);
    TreeSitterJSON::from_file(&grammar()).unwrap();
}

/// That `src/` of the grammar is what `file` of the grammar gives.
fn assert_up_to_date(file: &str) {
    let directory = tempfile::tempdir().unwrap();
    generate(&grammar().join(file), directory.path()).unwrap();
    let committed = files(&grammar().join("src")).unwrap();
    for (path, contents) in files(directory.path()).unwrap() {
        let is_same = committed.contains(&(path.clone(), contents));
        assert!(is_same, "packaging/editors/tree-sitter-knob/generate changes src/{}", path.display());
    }
}

#[test]
fn the_parser_is_what_grammar_json_gives() {
    assert_up_to_date("src/grammar.json");
}

#[test]
#[ignore = "needs Node.js"]
fn all_of_src_is_what_grammar_js_gives() {
    assert_up_to_date("grammar.js");
}
