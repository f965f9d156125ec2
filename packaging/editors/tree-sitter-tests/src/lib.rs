//! Generates the parser of the tree-sitter grammar in `packaging/editors/tree-sitter-knob`.

use std::fs;
use std::path::{Path, PathBuf};

use tree_sitter_generate::{OptLevel, generate_parser_in_directory};

/// The version of the tables, which is that of `tree-sitter generate --abi`. Neovim takes version 15 from 0.11 on only.
const ABI: usize = 14;

/// The directory of the grammar.
pub fn grammar() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tree-sitter-knob").canonicalize().expect("the grammar")
}

/// Writes what `grammar` gives into the directory `output`. `grammar` is a `grammar.json`, or a `grammar.js`, which takes Node.js.
///
/// # Errors
/// What the generator says.
pub fn generate(grammar: &Path, output: &Path) -> Result<(), String> {
    let mut warnings = Vec::new();
    generate_parser_in_directory(
        grammar.parent().unwrap_or(grammar),
        Some(output),
        Some(grammar),
        ABI,
        None,
        None,
        true,
        OptLevel::default(),
        &mut warnings,
    )
    .map_err(|error| error.to_string())?;
    match warnings.first() {
        Some(warning) => Err(warning.to_string()),
        None => Ok(()),
    }
}

/// The files below `directory`, by their path in it.
///
/// # Errors
/// Those of reading it.
pub fn files(directory: &Path) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap_or(&path).to_owned();
                files.push((name, fs::read(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}
