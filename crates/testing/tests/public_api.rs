//! The public interface of each crate, as text that is checked in: `crates/CRATE/public-api.txt`. A change of the
//! interface is a change of that file.
//!
//! `UPDATE_SNAPSHOTS=yes` writes the files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use public_api::Builder;

/// The crates that can be published, each with the features that are off by default.
const CRATES: &[(&str, &[&str])] = &[
    ("agent", &[]),
    ("backend", &["kernel"]),
    ("bpf", &[]),
    ("catalogue", &[]),
    ("compiler", &[]),
    ("diff", &["json"]),
    ("drift", &["json"]),
    ("errno", &[]),
    ("events", &["json"]),
    ("glob", &[]),
    ("hook", &[]),
    ("kernel", &[]),
    ("knobgate", &["containers", "workloads"]),
    ("learn", &[]),
    ("lsp", &[]),
    ("nri", &[]),
    ("policy", &[]),
    ("policy-test", &[]),
    ("replay", &[]),
    ("report", &[]),
    ("scenario", &["kernel"]),
    ("snapshot", &[]),
    ("sysctl-conf", &[]),
    ("workload", &[]),
];

/// The package of a crate.
fn package(directory: &str) -> String {
    if directory == "knobgate" { directory.to_owned() } else { format!("knobgate-{directory}") }
}

/// Has rustdoc describe all crates, and returns where the descriptions are.
fn describe(root: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Only nightly compilers have the format otherwise. If cargo had the variable, it would build all dependencies again.
    let rustdoc = target.join("rustdoc-with-json");
    fs::write(&rustdoc, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n").expect("a script");
    fs::set_permissions(&rustdoc, Permissions::from_mode(0o755)).expect("it can be run");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["doc", "--quiet", "--locked", "--no-deps"]);
    for (directory, features) in CRATES {
        let package = package(directory);
        for feature in *features {
            cargo.args(["--features", &format!("{package}/{feature}")]);
        }
        cargo.args(["--package", &package]);
    }
    cargo.env("RUSTDOC", &rustdoc).env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "rustdoc does not describe the crates: {status}");
    target.parent().expect("it is in the target directory").join("doc")
}

#[test]
#[ignore = "needs rustdoc's JSON, which is unstable: .ci/run tries it"]
fn public_interfaces_are_those_checked_in() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let described = describe(root);
    for (directory, _) in CRATES {
        let package = package(directory);
        let json = described.join(package.replace('-', "_")).with_extension("json");
        let builder = Builder::from_rustdoc_json(json).omit_blanket_impls(true);
        let builder = builder.omit_auto_trait_impls(true).omit_auto_derived_impls(true);
        let interface = builder.build().unwrap_or_else(|error| panic!("{package}: {error}"));
        interface.assert_eq_or_update(root.join("crates").join(directory).join("public-api.txt"));
    }
}

#[test]
fn every_crate_that_can_be_published_has_its_interface_checked_in() {
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut libraries: Vec<String> = fs::read_dir(crates)
        .expect("the crates")
        .map(|entry| entry.expect("a crate").path())
        .filter(|path| path.join("src/lib.rs").exists())
        .filter(|path| {
            let manifest = fs::read_to_string(path.join("Cargo.toml")).expect("a manifest");
            !manifest.contains("\npublish = false\n")
        })
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    libraries.sort();
    assert_eq!(libraries, CRATES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for name in libraries {
        assert!(crates.join(&name).join("public-api.txt").exists(), "{name}");
    }
}
