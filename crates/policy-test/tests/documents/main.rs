//! The code in docs/testing.md is the test `web_tier`, which runs here on the policy of that page.

mod web_tier;

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first block of a document that begins with this fence.
fn first_block(document: &str, fence: &str) -> String {
    let (_, rest) = document.split_once(&format!("{fence}\n")).expect("a block");
    let (block, _) = rest.split_once("```").expect("its end");
    block.to_owned()
}

#[test]
fn the_document_has_the_code_of_the_test() {
    let document = read("docs/testing.md");
    assert_eq!(first_block(&document, "```rust"), read("crates/policy-test/tests/documents/web_tier.rs"));
}

#[test]
fn the_test_has_the_policy_of_the_document_with_a_denial_first() {
    let policy = first_block(&read("docs/testing.md"), "```knob,fails-its-tests,file=web-tier.knob");
    let (head, rules) = policy.split_once("allow write kernel.core_*\n").expect("its first rule");
    let corrected = format!("{head}deny write kernel.core_pattern\nallow write kernel.core_*\n{rules}");
    assert_eq!(corrected, read("crates/policy-test/tests/documents/web-tier.knob"));
}
