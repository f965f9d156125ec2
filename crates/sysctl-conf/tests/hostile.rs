//! No file makes the readers panic or run for ever.
#![allow(missing_docs)]

use knobgate_policy::Policy;
use knobgate_sysctl_conf::{FileKind, Linter, SetApart, read};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const KINDS: [FileKind; 4] = [FileKind::Sysctl, FileKind::Kubernetes, FileKind::Compose, FileKind::Quadlet];

/// What these files consist of.
const PIECES: &[&str] = &[
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "- ",
    ": ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "'",
    "\"",
    "|\n",
    ">-\n",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\t",
    "\r\n",
    "\\",
    "\\x4",
    "\u{feff}",
    "\u{e9}",
    "services: ",
    "sysctls: ",
    "securityContext: ",
    "name: ",
    "value: ",
    "a.b",
    "=1",
    "*",
    "[!a-z]",
    "[Container]\n",
    "Sysctl=",
    "-",
    "0",
    "$x",
    "$$",
    "null",
    "\0",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_makes_a_reader_panic(pieces in vec(select(PIECES), 0..40)) {
        let text = pieces.concat();
        let policy = Policy::new("x").unwrap();
        let mut linter = Linter::new(&policy);
        for kind in KINDS {
            FileKind::detect("x", &text);
            let file = read(kind, &text);
            for setting in file.settings.iter().take(2) {
                prop_assert!(setting.line > 0 && setting.line <= text.split('\n').count(), "{:?}", setting);
                linter.verdicts(setting, &SetApart::of([&file]));
            }
            for error in &file.errors {
                prop_assert!(error.line > 0 && error.line <= text.split('\n').count() + 1, "{:?}", error);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..100)) {
        for kind in KINDS {
            read(kind, &bytes);
        }
    }
}

#[test]
fn long_files_take_time_in_proportion() {
    let lines = 100_000;
    let manifest = "- {name: a.b, value: '1'}\n".repeat(lines);
    let compose = (0..lines).map(|line| format!("   a.b{line}: 1\n")).collect::<String>();
    for (kind, text) in [
        (FileKind::Sysctl, "a.b = 1\n".repeat(lines)),
        (
            FileKind::Kubernetes,
            format!(
                "securityContext: {{}}\nspec:\n securityContext:\n  sysctls:\n{}",
                manifest.replace("- ", "  - ")
            ),
        ),
        (FileKind::Compose, format!("services:\n web:\n  sysctls:\n{compose}")),
        (FileKind::Quadlet, format!("[Container]\n{}", "Sysctl=a.b=1 \\\n".repeat(lines))),
    ] {
        let settings = read(kind, text);
        assert_eq!(settings.errors, [], "{kind:?}");
        assert!(settings.settings.len() >= lines, "{kind:?}: {}", settings.settings.len());
    }
}
