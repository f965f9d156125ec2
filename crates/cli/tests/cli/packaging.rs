//! The files for packages.

use std::fs;

use serde_json::Value;

use crate::{TESTS, knobgate};

/// See oci-hooks(5) of Podman (pkg/hooks/docs).
#[test]
fn podman_and_cri_o_run_the_hook_for_every_container() {
    let file = format!("{TESTS}/../../../packaging/oci/hooks.d/knobgate.json");
    let hooks: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(hooks["version"], "1.0.0");
    assert_eq!(hooks["hook"]["path"], "/usr/bin/knobgate");
    assert_eq!(hooks["when"], serde_json::json!({ "always": true }));
    assert_eq!(hooks["stages"], serde_json::json!(["createRuntime", "poststop"]));
    let args: Vec<&str> =
        hooks["hook"]["args"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    // The first one is the name of the program.
    let [program, command] = args[..] else { panic!("two arguments: {args:?}") };
    assert_eq!(program, "knobgate");
    let help = knobgate([command, "--help"]).output().unwrap();
    assert!(help.status.success(), "{help:?}");
}
