use std::process::Command;

use knobgate_policy::presets;

use crate::{knobgate, snapshot};

#[test]
fn presets_are_listed() {
    snapshot("presets-list", [knobgate(["presets"]), knobgate(["presets", "--json"])]);
}

#[test]
fn a_preset_is_printed_as_it_is() {
    for preset in presets::all() {
        for name in [preset.name().to_owned(), preset.to_string()] {
            let output =
                Command::new(env!("CARGO_BIN_EXE_knobgate")).args(["presets", &name]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), preset.text());
        }
    }
}

#[test]
fn a_name_that_no_preset_has_is_an_error() {
    snapshot(
        "presets-unknown",
        [
            knobgate(["presets", "docker-runtme"]),
            knobgate(["presets", "docker-runtime@2"]),
            knobgate(["presets", "docker-runtime@"]),
            knobgate(["presets", "banana\u{1b}[2J"]),
            knobgate(["presets", "docker-runtime", "docker-default"]),
            knobgate(["presets", "docker-runtime@1", "--json"]),
        ],
    );
}
