//! The policies in `examples/` are valid, and pass their own tests.

use std::fs;
use std::path::{Path, PathBuf};

use knobgate_policy::{CheckOptions, Expected, PolicyFile, Source, Test, Verdict, evaluate, parse};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let paths = fs::read_dir(directory).expect("examples").map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "knob")).collect()
}

fn read(path: &Path) -> PolicyFile {
    let text = fs::read_to_string(path).expect("a text");
    let source = Source::new(path.display().to_string(), text);
    parse(source, &CheckOptions::default()).unwrap_or_else(|errors| panic!("{}: {errors:#?}", path.display()))
}

#[test]
fn every_example_is_valid_and_has_no_warnings() {
    let names: Vec<_> =
        examples().iter().map(|path| path.file_stem().unwrap_or_default().to_owned()).collect();
    for name in ["audit-everything", "tour", "usermode-helpers", "web-tier"] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
    for path in examples() {
        let file = read(&path);
        assert_eq!(file.warnings(), [], "{}", path.display());
        assert_eq!(Some(file.policy().name()), path.file_stem().and_then(|stem| stem.to_str()));
        assert!(!file.policy().tests().is_empty(), "{}", path.display());
    }
}

#[test]
fn the_tests_of_every_example_pass() {
    for path in examples() {
        let file = read(&path);
        for Test { name, steps } in file.policy().tests() {
            for step in steps {
                let (access, expected) = (step.access(), step.expected());
                // In audit mode everything passes.
                let decided = match file.policy().mode() {
                    knobgate_policy::Mode::Audit => Verdict::Allow,
                    knobgate_policy::Mode::Enforce => evaluate(file.policy(), access).verdict,
                };
                let right = match (expected, &decided) {
                    (Expected::Allow, Verdict::Allow) | (Expected::Deny(None), Verdict::Deny(_)) => true,
                    (Expected::Deny(Some(errno)), Verdict::Deny(decided)) => errno == decided,
                    (Expected::Set(text), Verdict::Rewrite(bytes)) => text.as_bytes() == bytes,
                    _ => false,
                };
                assert!(right, "{}: {name}: {access:?} is {decided:?}", path.display());
            }
        }
    }
}
