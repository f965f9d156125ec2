//! What the agent says before it does anything.

use crate::{knobgate, tree};

#[test]
#[cfg(not(feature = "otlp"))]
fn an_agent_that_was_built_without_otlp_says_so() {
    let files = tree(&[("agent.toml", "[log]\n# Not here.\notlp = \"http://127.0.0.1:4318\"\n")]);
    let config = files.path().join("agent.toml");
    let path = config.to_str().unwrap();
    let expected = format!(
        "error: the agent does not start: {path}:3: this knobgate was built without OTLP; take the key out, or build knobgate with \
         --features otlp\n"
    );
    knobgate(["agent", "--config", path]).assert().code(1).stderr_eq(expected);
}

#[test]
fn an_endpoint_for_otlp_that_is_none_is_an_error() {
    let files = tree(&[("agent.toml", "[log]\notlp = \"https://collector\"\n")]);
    let config = files.path().join("agent.toml");
    let path = config.to_str().unwrap();
    let assert = knobgate(["agent", "--config", path]).assert().code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains(&format!("{path}:2: OTLP goes over http:// here")), "{said}");
}
