use knobgate_policy::{CheckOptions, Source, parse};
use knobgate_policy_test::{PolicyTest, Profile};

#[test]
fn the_policy_passes_its_tests() -> Result<(), Box<dyn std::error::Error>> {
    let source = Source::new("web-tier.knob", include_str!("web-tier.knob"));
    let file = parse(source, &CheckOptions::default())?;
    let report = PolicyTest::new(&file, &Profile::default())?.run_tests();
    assert!(report.passed(), "{report}");
    Ok(())
}
