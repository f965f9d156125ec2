//! The code in README.md is the first example on the crate's page, which the documentation tests compile.

use std::fs;
use std::path::Path;

/// The first block of a text that begins with this fence.
fn first_block(text: &str, fence: &str) -> String {
    let (_, rest) = text.split_once(&format!("{fence}\n")).expect("a block");
    let (block, _) = rest.split_once("```").expect("its end");
    block.to_owned()
}

#[test]
fn the_readme_has_the_first_example_of_the_page() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let page: String = include_str!("../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n")
        .collect();
    assert_eq!(first_block(&readme, "```rust"), first_block(&page, "```no_run"));
}
