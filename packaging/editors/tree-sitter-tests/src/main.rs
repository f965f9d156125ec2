//! Generates `src/` of the grammar from its `grammar.js`.

use std::process::ExitCode;

use knobgate_tree_sitter_tests::{generate, grammar};

fn main() -> ExitCode {
    let grammar = grammar();
    match generate(&grammar.join("grammar.js"), &grammar.join("src")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
