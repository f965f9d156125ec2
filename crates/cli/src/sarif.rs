//! Findings as SARIF 2.1.0, the format of code scanning.

use knobgate_policy::{Source, Span};
use serde::Serialize;

use crate::json;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What findings of one kind have in common.
#[derive(Debug, Clone)]
pub(crate) struct Rule<'a> {
    /// Its stable id.
    pub(crate) id: &'a str,
    /// What to do about it.
    pub(crate) help: Option<&'a str>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warning,
    Note,
}

/// One finding.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The id of its rule.
    pub(crate) rule: &'static str,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) location: Location,
    /// Other places, each with a remark.
    pub(crate) related: Vec<(Location, String)>,
    /// A replacement that fixes it, and what it does.
    pub(crate) fix: Option<Fix>,
}

/// A replacement of text.
#[derive(Debug)]
pub(crate) struct Fix {
    pub(crate) description: String,
    pub(crate) place: Location,
    pub(crate) replacement: String,
}

/// A place in a file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Location {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<SarifRegion>,
}

impl Location {
    /// `span` in `source`; without one, the whole file.
    pub(crate) fn of(source: &Source, span: Option<Span>) -> Self {
        let located = span.map(|span| source.locate(span));
        let source = located.map_or(source, |(source, _)| source);
        let region = located.map(|(_, span)| {
            let (start_line, start_column) = source.line_column(span.start);
            let (end_line, end_column) = source.line_column(span.end.max(span.start));
            SarifRegion { start_line, start_column, end_line, end_column }
        });
        Self { artifact_location: Artifact { uri: uri(source.name()) }, region }
    }
}

/// Findings as one line of JSON; `problems` are what kept files from being looked at.
pub(crate) fn log(rules: &[Rule<'_>], findings: &[Finding], problems: &[String]) -> String {
    let notification =
        |problem: &String| Notification { level: Level::Error, message: Message { text: problem.clone() } };
    json::line(&Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "knobgate",
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    rules: rules.iter().map(descriptor).collect(),
                },
            },
            invocations: [Invocation {
                execution_successful: problems.is_empty(),
                tool_execution_notifications: problems.iter().map(notification).collect(),
            }],
            column_kind: "unicodeCodePoints",
            results: findings.iter().map(|finding| result(finding, rules)).collect(),
        }],
    })
}

fn descriptor<'a>(rule: &Rule<'a>) -> Descriptor<'a> {
    Descriptor {
        id: rule.id,
        short_description: Message { text: rule.id.replace('-', " ") },
        help: rule.help.map(|help| Message { text: help.to_owned() }),
    }
}

fn result<'a>(finding: &'a Finding, rules: &[Rule<'_>]) -> SarifResult<'a> {
    let place = |location: &Location, message: Option<&String>| Place {
        physical_location: location.clone(),
        message: message.map(|text| Message { text: text.clone() }),
    };
    let fix = |fix: &Fix| SarifFix {
        description: Message { text: fix.description.clone() },
        artifact_changes: [Change {
            artifact_location: fix.place.artifact_location.clone(),
            replacements: fix
                .place
                .region
                .iter()
                .map(|region| Replacement {
                    deleted_region: region.clone(),
                    inserted_content: Message { text: fix.replacement.clone() },
                })
                .collect(),
        }],
    };
    SarifResult {
        rule_id: finding.rule,
        rule_index: rules.iter().position(|rule| rule.id == finding.rule),
        level: finding.level,
        message: Message { text: finding.message.clone() },
        locations: [place(&finding.location, None)],
        related_locations: finding.related.iter().map(|(at, text)| place(at, Some(text))).collect(),
        fixes: finding.fix.iter().map(fix).collect(),
    }
}

/// A path as a URI, relative unless it is absolute.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    invocations: [Invocation; 1],
    column_kind: &'static str,
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    id: &'a str,
    short_description: Message,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<Message>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Serialize)]
struct Notification {
    level: Level,
    message: Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: Level,
    message: Message,
    locations: [Place; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fixes: Vec<SarifFix>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    physical_location: Location,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
}

#[derive(Debug, Clone, Serialize)]
struct Artifact {
    uri: String,
}

/// Lines and columns count from 1, columns in characters; the end is after the last character.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRegion {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifFix {
    description: Message,
    artifact_changes: [Change; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    artifact_location: Artifact,
    replacements: Vec<Replacement>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replacement {
    deleted_region: SarifRegion,
    inserted_content: Message,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_are_uris() {
        for (path, expected) in [
            ("web.knob", "web.knob"),
            ("a b/c#d?.knob", "a%20b/c%23d%3F.knob"),
            ("/etc/web.knob", "file:///etc/web.knob"),
            ("C:x.knob", "C%3Ax.knob"),
            ("<stdin>", "%3Cstdin%3E"),
            ("é.knob", "%C3%A9.knob"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
