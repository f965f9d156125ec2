//! The presets, on the hook in user space.

use std::fs;
use std::path::Path;

use knobgate_hook::Profile;
use knobgate_policy::presets::{self, Preset};
use knobgate_policy::{
    Access, CheckOptions, KnobName, PolicyFile, Source, Verdict, engine_writes, evaluate, format, parse,
};
use knobgate_policy_test::PolicyTest;

/// A policy whose defaults for writes are `default`, with the rules of `preset`, and its tests if `tests`.
fn policy(preset: &Preset, default: &str, tests: bool) -> PolicyFile {
    let rules = if tests { preset.text().to_owned() } else { format!("include preset \"{preset}\"\n") };
    let text = format!("policy x\ndefault write {default}\n{rules}");
    parse(Source::new(preset.to_string(), text), &CheckOptions::default()).expect("a policy")
}

fn verdict(file: &PolicyFile, knob: &str, new: &str, old: &str) -> Verdict {
    let access = Access::write(KnobName::parse(knob).expect("a name"), new);
    evaluate(file.policy(), &Access { old: Some(old.into()), ..access }).verdict
}

#[test]
fn the_tests_of_presets_pass_on_every_kernel_whatever_the_default_is() {
    for preset in presets::all() {
        for default in ["allow", "deny(ENOENT)"] {
            let file = policy(preset, default, true);
            assert!(!file.policy().tests().is_empty(), "{preset} has no tests");
            for profile in Profile::ALL.iter().filter(|profile| profile.links) {
                let report = PolicyTest::new(&file, profile).expect("it compiles").run_tests();
                assert!(report.passed(), "{preset}, {}, default {default}:\n{report}", profile.name);
            }
        }
    }
}

#[test]
fn policies_include_the_rules_of_a_preset_and_not_its_tests() {
    for preset in presets::all() {
        let (whole, included) = (policy(preset, "deny", true), policy(preset, "deny", false));
        assert_eq!(included.policy().rules(), whole.policy().rules(), "{preset}");
        assert!(included.policy().tests().is_empty(), "{preset}");
        assert!(preset.text().starts_with(preset.rules()));
    }
}

#[test]
fn each_pattern_of_a_preset_is_in_a_test_of_it() {
    for preset in presets::all() {
        let file = policy(preset, "deny", true);
        let steps: Vec<_> = file.policy().tests().iter().flat_map(|test| &test.steps).collect();
        for rule in file.policy().rules() {
            let matches = |pattern: &knobgate_policy::KnobPattern| {
                steps.iter().any(|step| pattern.matches(step.access().knob.as_bytes()))
            };
            for pattern in rule.patterns() {
                assert!(matches(pattern), "{preset}: nothing tests {pattern} of {rule}");
            }
        }
    }
}

#[test]
fn what_a_preset_does_not_decide_is_left_to_the_policy() {
    for (preset, knob, new, old) in [
        ("usermode-helpers@1", "kernel.shmmax", "1\n", "0\n"),
        ("usermode-helpers@1", "kernel.panic", "1\n", "0\n"),
        ("docker-runtime@1", "net.ipv4.ip_unprivileged_port_start", "80", "1024\n"),
        ("docker-runtime@1", "net.ipv4.ping_group_range", "0 1000", "1\t0\n"),
        ("docker-runtime@1", "net.ipv4.ip_forward", "1", "0\n"),
        ("docker-default@1", "kernel.core_pattern", "core", "core\n"),
        ("docker-default@1", "vm.swappiness", "1", "60\n"),
        ("kubernetes-safe@1", "net.ipv4.tcp_rmem", "4096 131072 33554433", "4096\t131072\t6291456\n"),
        ("kubernetes-safe@1", "net.ipv4.ip_local_port_range", "65535 1024", "32768\t60999\n"),
        ("kubernetes-safe@1", "net.ipv4.tcp_keepalive_probes", "128", "9\n"),
        ("kubernetes-safe@1", "net.ipv4.ip_forward", "1", "0\n"),
        ("host-knobs@1", "net.ipv4.ip_forward", "1", "0\n"),
        ("host-knobs@1", "net.ipv4.conf.eth0.rp_filter", "1", "0\n"),
        ("host-knobs@1", "kernel.hostname", "web", "host\n"),
        ("host-knobs@1", "kernel.shmmax", "1", "0\n"),
        ("host-knobs@1", "fs.mqueue.msg_max", "10", "10\n"),
        ("host-knobs@1", "kernel.msgmax", "0", "0\n"),
        ("node-bounds@1", "vm.max_map_count", "1048576\n", "65530\n"),
        ("node-bounds@1", "vm.nr_hugepages", "0\n", "512\n"),
        ("node-bounds@1", "net.core.rmem_max", "134217728\n", "4194304\n"),
        ("node-bounds@1", "net.ipv4.tcp_mem", "1 2 575796\n", "287898\t383866\t575796\n"),
        ("node-bounds@1", "fs.pipe-user-pages-soft", "1024\n", "16384\n"),
        ("node-bounds@1", "fs.file-max", "9223372036854775807\n", "9223372036854775807\n"),
        ("node-bounds@1", "vm.swappiness", "1\n", "60\n"),
    ] {
        let preset = presets::named(preset).expect("a preset");
        let decided = |default| verdict(&policy(preset, default, false), knob, new, old);
        assert_eq!(decided("allow"), Verdict::Allow, "{preset}: {knob} {new:?}");
        assert!(matches!(decided("deny"), Verdict::Deny(_)), "{preset}: {knob} {new:?}");
    }
}

/// FNV-1a, whose values stay the same with every compiler.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Policies rely on it. A preset with other rules is another version: add it, and its fingerprint, and leave these alone.
#[test]
fn what_a_version_means_does_not_change() {
    let fingerprints: Vec<_> = presets::all()
        .iter()
        .map(|preset| {
            let file = policy(preset, "deny", false);
            let rules: String = file.policy().rules().iter().map(|rule| format!("{rule}\n")).collect();
            (preset.to_string(), format!("{:016x}", fingerprint(&rules)))
        })
        .collect();
    let expected = [
        ("docker-default@1", "afb06fdc66b3fb75"),
        ("docker-runtime@1", "acce264bb5ad965c"),
        ("host-knobs@1", "adae8355474e7286"),
        ("kubernetes-safe@1", "57b85fa8a66bba04"),
        ("node-bounds@1", "0f87c93e73164c85"),
        ("usermode-helpers@1", "55e87b16ae3c6609"),
    ];
    assert_eq!(
        fingerprints,
        expected.map(|(preset, fingerprint)| (preset.to_owned(), fingerprint.to_owned()))
    );
}

#[test]
fn presets_are_formatted() {
    for preset in presets::all() {
        assert_eq!(format(&Source::new("x", preset.text())).expect("rules"), preset.text(), "{preset}");
    }
}

#[test]
fn the_page_on_presets_has_the_rules_of_each() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/presets.md");
    let page = fs::read_to_string(path).expect("the page");
    for preset in presets::all() {
        let heading = format!("\n## {preset}\n");
        let section = page.split(&heading).nth(1).and_then(|rest| rest.split("\n## ").next());
        let section = section.unwrap_or_else(|| panic!("no section {preset}"));
        let quoted = format!("```text\n{}\n```", preset.rules().trim_end());
        assert!(section.contains(&quoted), "the section {preset} has to have this:\n{quoted}");
    }
    let sections = page.lines().filter(|line| line.starts_with("## ") && line.contains('@')).count();
    assert_eq!(sections, presets::all().len());
}

#[test]
fn a_preset_allows_exactly_what_engines_write() {
    let preset = presets::named(engine_writes::PRESET).expect("a preset");
    let file = policy(preset, "deny", false);
    let written: Vec<_> = engine_writes::all().iter().map(|write| (write.knob(), write.value())).collect();
    for (knob, value) in &written {
        assert_eq!(verdict(&file, knob, value, "7"), Verdict::Allow, "{knob} = {value}");
    }
    let numbers = ["-1", "0", "1", "2147483646", "2147483647", "2147483648", "x", ""];
    let pairs = numbers.iter().flat_map(|first| numbers.map(|second| format!("{first} {second}")));
    let values: Vec<String> = pairs.chain(["0 0 0".to_owned(), "0 2147483647 1".to_owned()]).collect();
    for rule in file.policy().rules() {
        for pattern in rule.patterns() {
            let knob = pattern.literal().expect("one knob");
            let knob = std::str::from_utf8(knob).expect("a name").replace('/', ".");
            for value in &values {
                let is_written = written.contains(&(&knob, value.trim()));
                let is_allowed = verdict(&file, &knob, value, "7") == Verdict::Allow;
                assert_eq!(is_allowed, is_written, "{knob} = {value}");
            }
        }
    }
}
