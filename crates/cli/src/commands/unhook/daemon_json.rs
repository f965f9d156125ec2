//! Docker's configuration without knobgate. Only the values that name it change; everything else stays as it is written.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::is_knobgate;

/// What is to be changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The names of the runtimes that are knobgate.
    pub(super) runtimes: Vec<String>,
    /// The whole text, changed; `None` if there is no such runtime.
    pub(super) text: Option<String>,
}

#[derive(Deserialize)]
struct Runtime {
    path: String,
    #[serde(default, rename = "runtimeArgs")]
    arguments: Vec<String>,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The changes of this text.
///
/// # Errors
/// It is not the JSON that it should be.
pub(super) fn without_knobgate(text: &str) -> serde_json::Result<Changes> {
    let document: Members<'_> = serde_json::from_str(text)?;
    let Some(runtimes) = document.get("runtimes") else { return Ok(Changes::default()) };
    let runtimes: Members<'_> = serde_json::from_str(runtimes.get())?;
    let (mut changes, mut edits) = (Changes::default(), Vec::new());
    for (name, value) in runtimes {
        // Something else than an object with a path is none of ours.
        let Ok(runtime) = serde_json::from_str::<Runtime>(value.get()) else { continue };
        if !is_knobgate(&runtime.path) {
            continue;
        }
        let wrapped = wrapped(&runtime.arguments);
        edits.push((place(text, value), serde_json::json!({ "path": wrapped }).to_string()));
        // What has no runtime of its own gets Docker's again.
        if wrapped == "runc"
            && let Some(default) = document.get("default-runtime")
            && serde_json::from_str::<String>(default.get()).is_ok_and(|default| default == name)
        {
            edits.push((place(text, default), "\"runc\"".to_owned()));
        }
        changes.runtimes.push(name);
    }
    if !edits.is_empty() {
        // From the end, so that the places before stay what they are.
        edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
        let mut changed = text.to_owned();
        edits.into_iter().for_each(|(place, value)| changed.replace_range(place, &value));
        changes.text = Some(changed);
    }
    Ok(changes)
}

/// The runtime that `knobgate runtime` executes with these arguments.
fn wrapped(arguments: &[String]) -> String {
    let mut arguments = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--runtime"
            && let Some(runtime) = arguments.next()
        {
            return runtime.clone();
        }
        if let Some(runtime) = argument.strip_prefix("--runtime=") {
            return runtime.to_owned();
        }
    }
    "runc".to_owned()
}

/// Where a value is in the text that it was read from.
fn place(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + value.get().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_name_knobgate_change() {
        let text = r#"{
	"log-level" : "warn",   "default-runtime": "kg",
  "runtimes": {
    "kg": { "path": "/usr/bin/knobgate",
            "runtimeArgs": ["runtime", "--writable-proc-sys", "--"] },
    "crun\u0021": {"path":"knobgate","runtimeArgs":["runtime","--runtime=/usr/bin/crun","--","--runtime","no"]},
    "other": { "path": "/usr/local/bin/knobgate-runtime" },
    "kata": { "runtimeType": "io.containerd.kata.v2" }
  }
}
"#;
        let expected = r#"{
	"log-level" : "warn",   "default-runtime": "runc",
  "runtimes": {
    "kg": {"path":"runc"},
    "crun\u0021": {"path":"/usr/bin/crun"},
    "other": { "path": "/usr/local/bin/knobgate-runtime" },
    "kata": { "runtimeType": "io.containerd.kata.v2" }
  }
}
"#;
        let changes = without_knobgate(text).unwrap();
        assert_eq!(changes.runtimes, ["crun!", "kg"]);
        assert_eq!(changes.text.as_deref(), Some(expected));
        assert_eq!(without_knobgate(expected).unwrap(), Changes::default());
    }

    #[test]
    fn a_default_that_wraps_another_runtime_stays() {
        let text = r#"{"default-runtime":"k","runtimes":{"k":{"path":"knobgate","runtimeArgs":["runtime","--runtime","crun"]}}}"#;
        let expected = r#"{"default-runtime":"k","runtimes":{"k":{"path":"crun"}}}"#;
        assert_eq!(without_knobgate(text).unwrap().text.as_deref(), Some(expected));
    }

    #[test]
    fn nothing_changes_without_such_a_runtime() {
        for text in
            ["{}", r#"{"default-runtime":"knobgate"}"#, r#"{"runtimes":{"a":null,"b":[],"c":{"path":7}}}"#]
        {
            assert_eq!(without_knobgate(text).unwrap(), Changes::default(), "{text}");
        }
        for text in ["", "[]", "{", r#"{"runtimes":7}"#] {
            assert!(without_knobgate(text).is_err(), "{text}");
        }
    }
}
