//! The code in docs/programs.md and on the crate's page is that of examples/limit, which is compiled and run.

use std::fs;
use std::path::Path;

use knobgate_bpf::Object;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a document in this language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = document.split("```");
    // Text and blocks take turns.
    std::iter::from_fn(|| blocks.nth(1))
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n').map(str::to_owned))
        .collect()
}

#[test]
fn the_document_has_the_code_of_the_example() {
    let document = read("docs/programs.md");
    assert_eq!(blocks(&document, "c"), [read("examples/limit/limit.bpf.c")]);
    let tests = ["limit", "more"].map(|test| read(&format!("examples/limit/tests/{test}.rs")));
    assert_eq!(blocks(&document, "rust"), tests);
}

#[test]
fn the_page_of_the_crate_has_the_test_of_the_example() {
    let test = read("examples/limit/tests/limit.rs")
        .replace("../limit.bpf.o", "../../../examples/limit/limit.bpf.o");
    let (_, body) = test.split_once("{\n").expect("a function");
    let (body, _) = body.split_once("    Ok(())\n").expect("its end");
    let body: String =
        body.lines().map(|line| format!("//! {}", line.trim_start()).trim_end().to_owned() + "\n").collect();
    assert!(read("crates/hook/src/lib.rs").contains(&body), "the page should have:\n{body}");
}

#[test]
fn the_object_is_compiled_from_the_source() {
    let object = Object::read(include_bytes!("../../../examples/limit/limit.bpf.o")).expect("an object");
    let program = object.program(None).expect("a program");
    let source = read("examples/limit/limit.bpf.c");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    assert!(program.lines.entries.len() > 10);
    for entry in program.lines.entries {
        assert_eq!(
            lines[entry.line as usize - 1],
            entry.text,
            "line {}: run examples/objects/build",
            entry.line
        );
    }
}
