//! The files for packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use knobgate::AgentConfig;
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

/// What is commented out has to be right as well: it is what people will take away the `#` of.
#[test]
fn the_configuration_is_valid_with_and_without_its_comments() {
    let file = format!("{TESTS}/../../../packaging/etc/agent.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "it says nothing by itself");
    assert!(AgentConfig::read(Path::new(&file)).is_ok());
    let is_setting = |line: &&str| line.starts_with('[') || line.contains(" = ");
    let settings = text.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_setting);
    let whole = tempfile::NamedTempFile::new().unwrap();
    fs::write(whole.path(), settings.collect::<Vec<_>>().join("\n")).unwrap();
    let config = AgentConfig::read(whole.path()).unwrap();
    assert_eq!(config.metrics_listen.map(|address| address.port()), Some(9477));
    assert_eq!(config.check_interval, AgentConfig::default().check_interval);
}

/// By default, systemd leaves a unit alone that has ended five times in ten seconds. See systemd.unit(5).
#[test]
fn systemd_starts_agent_and_plugin_again_however_often_they_end() {
    for unit in ["knobgate-agent", "knobgate-nri"] {
        let file = format!("{TESTS}/../../../packaging/systemd/{unit}.service");
        let text = fs::read_to_string(file).unwrap();
        let (settings_of_unit, settings_of_service) = text.split_once("\n[Service]\n").unwrap();
        assert!(settings_of_unit.lines().any(|line| line == "StartLimitIntervalSec=0"), "{unit}");
        assert!(settings_of_service.lines().any(|line| line.starts_with("Restart=")), "{unit}");
    }
}

#[test]
fn the_unit_of_the_plugin_has_the_capabilities_that_the_plugin_names() {
    let file = format!("{TESTS}/../../../packaging/systemd/knobgate-nri.service");
    let unit = fs::read_to_string(file).unwrap();
    let has = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let help = knobgate(["nri", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let named = help.lines().find_map(|line| line.strip_prefix("Privileges: root, ")).unwrap();
    // Which the first one includes since Linux 6.9.
    assert_eq!(has, format!("{} CAP_NET_ADMIN", named.trim_end_matches('.')));
}

/// The .rpm names files and no directories, so rpm leaves these.
#[test]
fn the_rpm_removes_the_directories_that_are_its_own() {
    let manifest = fs::read_to_string(format!("{TESTS}/../Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let directories = assets.iter().map(|asset| asset[1].as_str().unwrap().trim_end_matches('/'));
    let own: BTreeSet<&str> = directories.filter(|directory| directory.contains("/knobgate")).collect();
    assert!(own.len() > 4, "{own:?}");
    let script = fs::read_to_string(format!("{TESTS}/../../../packaging/rpm/postun")).unwrap();
    let removed: BTreeSet<&str> = script.split_whitespace().collect();
    for directory in own {
        assert!(removed.contains(&*format!("/{directory}")), "/{directory} is left over");
    }
}
