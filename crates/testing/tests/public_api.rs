//! The public interface of each crate, as text that is checked in: `crates/CRATE/public-api.txt`. A change of the
//! interface is a change of that file.
//!
//! `UPDATE_SNAPSHOTS=yes` writes the files.

use std::path::Path;
use std::process::Command;

use public_api::Builder;

/// The crates that can be published, each with the features that are off by default.
const CRATES: &[(&str, &[&str])] = &[
    ("backend", &["kernel"]),
    ("bpf", &[]),
    ("compiler", &[]),
    ("errno", &[]),
    ("glob", &[]),
    ("hook", &[]),
    ("kernel", &[]),
    ("knobgate", &[]),
    ("policy", &[]),
    ("policy-test", &[]),
    ("scenario", &["kernel"]),
    ("snapshot", &[]),
];

/// Has rustdoc describe the crate, and returns where.
fn describe(package: &str, features: &[&str], root: &Path) -> std::path::PathBuf {
    let target = root.join("target/public-api");
    let mut rustdoc = Command::new(env!("CARGO"));
    rustdoc.current_dir(root).args(["rustdoc", "--quiet", "--locked", "--lib", "--package", package]);
    rustdoc.args(["--features", &features.join(",")]).arg("--target-dir").arg(&target);
    rustdoc.args(["--", "-Z", "unstable-options", "--output-format", "json"]);
    // Only nightly compilers have the format otherwise.
    let status = rustdoc.env("RUSTC_BOOTSTRAP", "1").status().expect("cargo runs");
    assert!(status.success(), "rustdoc does not describe {package}: {status}");
    target.join(format!("doc/{}.json", package.replace('-', "_")))
}

#[test]
#[ignore = "needs rustdoc's JSON, which is unstable: .ci/run tries it"]
fn public_interfaces_are_the_ones_that_are_checked_in() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    for (directory, features) in CRATES {
        let package = match *directory {
            "knobgate" => "knobgate".to_owned(),
            other => format!("knobgate-{other}"),
        };
        let described = describe(&package, features, root);
        let builder = Builder::from_rustdoc_json(described).omit_blanket_impls(true);
        let builder = builder.omit_auto_trait_impls(true).omit_auto_derived_impls(true);
        let interface = builder.build().unwrap_or_else(|error| panic!("{package}: {error}"));
        interface.assert_eq_or_update(root.join("crates").join(directory).join("public-api.txt"));
    }
}

#[test]
fn every_crate_that_can_be_published_has_its_interface_checked_in() {
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut libraries: Vec<String> = std::fs::read_dir(crates)
        .expect("the crates")
        .map(|entry| entry.expect("a crate").path())
        .filter(|path| path.join("src/lib.rs").exists())
        .filter(|path| {
            let manifest = std::fs::read_to_string(path.join("Cargo.toml")).expect("a manifest");
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
