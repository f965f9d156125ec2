//! Streams as JSON: the published schema, what the reader rejects, and what it tolerates.

use std::fs;

use knobgate_events::StreamContent;
use knobgate_events::json::{LINE_MAX, StreamReader, json_schema, to_json};
use knobgate_policy::Source;
use knobgate_policy::filter::Filter;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/events.schema.json");
/// One line of each kind.
const STREAM: &str = include_str!("stream.jsonl");

/// The items and errors of a stream, one a line.
fn read(stream: &[u8]) -> Vec<String> {
    StreamReader::new(stream)
        .map(|item| item.map_or_else(|error| error.to_string(), |item| to_json(&item)))
        .collect()
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("KNOBGATE_UPDATE_SCHEMA").is_some() {
        fs::write(SCHEMA, &schema).unwrap();
    }
    let published = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        published == schema,
        "schemas/events.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
    );
}

#[test]
fn each_line_of_a_stream_is_written_as_it_was_read_and_obeys_the_schema() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let lines = read(STREAM.as_bytes());
    assert!(lines.iter().map(String::as_str).eq(STREAM.lines()), "{lines:#?}");
    for line in &lines {
        let value = serde_json::from_str(line).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
    }
}

#[test]
fn the_event_in_the_documentation_is_one() {
    let (_, example) = include_str!("../../../docs/observing.md").split_once("```json\n").unwrap();
    let (example, _) = example.split_once("\n```").unwrap();
    let line = example.replace("\n ", "");
    let item = StreamReader::new(line.as_bytes()).next().unwrap().unwrap();
    let compact: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&to_json(&item)).unwrap(), compact);
}

#[test]
fn the_schema_rejects_what_is_no_event() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let event = STREAM.lines().next().unwrap();
    for (of, wrong) in [
        (r#""type":"event""#, r#""type":"evnt""#),
        (r#""verdict":"deny""#, r#""verdict":"denied""#),
        (r#""access":"write","#, ""),
        (r#""errno":"EPERM""#, r#""errno":"operation not permitted""#),
        (r#""cgroup":{"id":4711"#, r#""cgroup":{"id":"4711""#),
    ] {
        let changed = event.replace(of, wrong);
        assert_ne!(changed, event, "{of}");
        assert!(!validator.is_valid(&serde_json::from_str(&changed).unwrap()), "{changed}");
    }
}

#[test]
fn what_later_versions_add_is_ignored() {
    let event = STREAM.lines().next().unwrap();
    let later = event
        .replace(r#""version":1,"#, r#""version":2,"colour":{"red":[1,null]},"#)
        .replace(r#""task":{"#, r#""task":{"hat":"tall","#);
    let unknown = r#"{"schema":"knobgate.events","version":2,"type":"hat","sequence":9}"#;
    assert_eq!(read(format!("\n{unknown}\n  \r\n{later}\n").as_bytes()), [event]);
}

#[test]
fn members_can_come_in_any_order_and_time_in_any_zone() {
    let lost = r#" {"count": 3, "boot_time": 9007199254740993, "type": "lost", "version": 1,
        "time": "2026-11-29T13:04:31.5+01:00", "sequence": 1, "schema": "knobgate.events"}"#
        .replace('\n', "");
    let expected = r#"{"schema":"knobgate.events","version":1,"type":"lost","sequence":1,"time":"2026-11-29T12:04:31.500000000Z","boot_time":9007199254740993,"count":3}"#;
    assert_eq!(read(lost.as_bytes()), [expected]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let event = STREAM.lines().next().unwrap();
    let change = |of: &str, with: &str| {
        assert!(event.contains(of), "{of}");
        event.replacen(of, with, 1)
    };
    for (line, expected) in [
        ("{".to_owned(), "line 2, column 1: EOF while parsing an object"),
        ("[]".to_owned(), "line 2: it is not a JSON object"),
        (change(r#""task":{"#, r#""task":5,"x":{"#), "invalid type: integer `5`, expected an object"),
        ("{}".to_owned(), "line 2, column 2: missing field `schema`; `watch --json` and"),
        (event[..80].to_owned(), "line 2, column 80: EOF while parsing a string"),
        (format!("{event} x"), "trailing characters"),
        (change("knobgate.events", "x\u{1b}[2J"), "line 2, column 13: control character"),
        (change("knobgate.events", "other"), r#"line 2: the schema is "other", not "knobgate.events""#),
        (change(r#""event""#, r#""evnt""#), r#"line 2: the type is "evnt"; the types are"#),
        (change(r#""verdict":"deny""#, r#""verdict":"no""#), "unknown variant `no`, expected one of `allow`"),
        (change(r#""errno":"EPERM","#, ""), r#"line 2: the verdict is "deny", and there is no "errno""#),
        (change(r#""verdict":"deny""#, r#""verdict":"allow""#), r#"line 2: there is an "errno", but"#),
        (change(r#""errno":"EPERM""#, r#""errno":"EPREM""#), "expected the name of an errno"),
        (change(r#""errno":"EPERM""#, r#""errno":42000"#), "line 2: no errno has the number 42000"),
        (change(r#""errno":"EPERM""#, r#""errno":-1"#), "expected the name of an errno"),
        (change(r#""knob":"kernel.core_pattern""#, r#""knob":"a..b""#), r#"line 2: "knob" is not a name: "#),
        (
            change(r#""knob":"kernel.core_pattern""#, r#""knob":{}"#),
            r#"line 2: bytes are an object with either"#,
        ),
        (change(r#"{"text":"core\n"}"#, r#"{"base64":"?"}"#), r#"line 2: "base64" is not Base64: "#),
        (change(r#""index":3,"#, ""), r#"line 2: a rule has either "index" or "default""#),
        (change(r#""sequence":1,"#, r#""sequence":-1,"#), "invalid value: integer `-1`"),
        (change("2026-11-29T12:04:31.482000123Z", "yesterday"), "expected a time as in RFC 3339"),
        (
            change("2026-11-29T12:04:31.482000123Z", "-002026-11-29T12:04:31Z"),
            "expected a time as in RFC 3339",
        ),
    ] {
        let errors = read(format!("\n{line}\n{event}\n").as_bytes());
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(errors[0].starts_with("line 2") && errors[0].contains(expected), "{line}: {}", errors[0]);
        assert!(!errors[0].contains("line 1"), "{}", errors[0]);
        assert_eq!(errors[1], event, "the next line is read");
    }
    assert_eq!(read(b"\n\n\xff\n"), ["line 3, column 1: it is not UTF-8"]);
}

#[test]
fn a_line_that_is_too_long_ends_the_stream() {
    let endless = std::io::BufReader::new(std::io::repeat(b' '));
    let errors: Vec<_> = StreamReader::new(endless).map(|item| item.unwrap_err().to_string()).collect();
    assert_eq!(errors, ["line 1: it has more than 1 MiB"]);
    let mut padded = STREAM.lines().next().unwrap().to_owned();
    padded.extend(std::iter::repeat_n(' ', LINE_MAX - padded.len() - 1));
    assert_eq!(read(format!("{padded}\n").as_bytes()).len(), 1, "as long as a line may be");
}

#[test]
fn numbers_beyond_2_to_the_53rd_are_exact() {
    let line = r#"{"schema":"knobgate.events","version":1,"type":"lost","sequence":18446744073709551615,"boot_time":9007199254740993,"count":18446744073709551615}"#;
    assert_eq!(read(line.as_bytes()), [line]);
    let item = StreamReader::new(line.as_bytes()).next().unwrap().unwrap();
    assert!(matches!(item.content, StreamContent::Lost(lost) if lost.count == u64::MAX));
}

#[test]
fn a_cgroup_whose_path_shows_no_workload_has_none() {
    let event = |cgroup: &str| {
        let line = format!(
            r#"{{"schema":"knobgate.events","version":1,"type":"suppressed","sequence":1,"boot_time":1,"cgroup":{cgroup},"count":1}}"#
        );
        StreamReader::new(line.as_bytes()).next().unwrap().unwrap()
    };
    let (with_path, without_path) = (event(r#"{"id":5,"path":"/sys/fs/cgroup/demo"}"#), event(r#"{"id":5}"#));
    for field in ["container", "container_id", "pod", "namespace", "image", "unit"] {
        let holds = |text: String, item| Filter::parse(Source::new("filter", text)).unwrap().matches(item);
        assert_eq!(holds(format!("{field} == \"web\""), &with_path), Some(false), "{field}");
        assert_eq!(holds(format!("{field} == \"\""), &with_path), Some(true), "{field}");
        assert_eq!(holds(format!("{field} == \"web\""), &without_path), None, "{field}");
    }
}

#[test]
fn filters_see_what_an_item_has() {
    let items: Vec<_> = StreamReader::new(STREAM.as_bytes()).map(Result::unwrap).collect();
    let holds = |text: &str| {
        let filter = Filter::parse(Source::new("filter", text)).unwrap();
        items.iter().map(|item| filter.matches(item)).collect::<Vec<_>>()
    };
    let (yes, no, unknown) = (Some(true), Some(false), None);
    // A denial, a rewrite, a read of which little is known, one in audit mode of which texts were cut, two suppressed, lost.
    for (filter, expected) in [
        ("type == event", [yes, yes, yes, yes, no, no, no]),
        // The read was denied before, with an errno without a name.
        ("errno == EPERM", [yes, no, unknown, yes, unknown, unknown, unknown]),
        ("outcome == denied", [yes, no, yes, no, unknown, unknown, unknown]),
        ("outcome in {rewritten, would_deny}", [no, yes, no, yes, unknown, unknown, unknown]),
        ("mode == audit", [no, no, no, yes, unknown, unknown, unknown]),
        ("knob matches net.**", [no, yes, yes, unknown, unknown, unknown, unknown]),
        ("stored == 65535", [unknown, yes, unknown, unknown, unknown, unknown, unknown]),
        ("new starts with \"|\"", [yes, no, unknown, unknown, unknown, unknown, unknown]),
        ("comm == \"sh\"", [yes, yes, unknown, no, unknown, unknown, unknown]),
        ("netns == 4026531840", [yes, yes, unknown, yes, unknown, unknown, unknown]),
        ("container == \"web-1\"", [yes, yes, unknown, yes, no, unknown, unknown]),
        ("pod == \"\"", [yes, yes, unknown, yes, yes, unknown, unknown]),
        ("attachment == \"demo\" and line == 7", [yes, no, unknown, unknown, yes, unknown, unknown]),
        ("cgroup_id in {4711}", [yes, yes, no, no, yes, unknown, unknown]),
    ] {
        assert_eq!(holds(filter), expected, "{filter}");
    }
}

/// Whether a filter holds for an event in the workload that `workload` describes.
fn holds_in(workload: &str, filter: &str) -> Option<bool> {
    let of =
        r#""workload":{"engine":"docker","container":"web-1","container_id":"4f6b1e3a9c0d","image":"web:1"}"#;
    let event = STREAM.lines().next().unwrap();
    assert!(event.contains(of));
    let event = event.replace(of, &format!(r#""workload":{workload}"#));
    let item = StreamReader::new(event.as_bytes()).next().unwrap().unwrap();
    assert_eq!(to_json(&item), event);
    Filter::parse(Source::new("--filter", filter)).unwrap().matches(&item)
}

#[test]
fn nothing_in_a_workload_changes_whose_event_it_is() {
    let (yes, no, unknown) = (Some(true), Some(false), None);
    let web = r#"{"engine":"docker","container":"web","container_id":"aa","image":"web:1""#;
    for inner in [
        r#"{"engine":"docker","container_id":"bb"}"#,
        r#"{"engine":"lxc","container":"db"}"#,
        r#"{"engine":"systemd","unit":"nginx.service"}"#,
        r#"{"engine":"k8s","container_id":"bb","pod_id":"cc","inner":{"engine":"docker","container":"db"}}"#,
        r#"{"engine":"k8s","container":"db","pod":"db-0","namespace":"prod","image":"db:1","unit":"nginx.service"}"#,
    ] {
        let nested = format!(r#"{web},"inner":{inner}}}"#);
        for (filter, expected) in [
            ("container == \"web\"", yes),
            ("container == \"db\"", no),
            ("container_id starts with \"a\"", yes),
            ("container_id == \"bb\"", no),
            ("image == \"web:1\"", yes),
            ("image != \"web:1\"", no),
        ] {
            assert_eq!(holds_in(&nested, filter), expected, "{filter}: {nested}");
        }
        // What only the inner one has may be made up, so nothing is hidden for it.
        for (filter, name) in [
            ("pod == \"\"", "pod"),
            ("pod == \"web-0\"", "pod"),
            ("namespace == \"prod\"", "namespace"),
            ("unit == \"docker.service\"", "unit"),
        ] {
            let is_claimed =
                inner.contains(&format!("\"{name}")) || name == "namespace" && inner.contains("pod_id");
            let expected = if is_claimed { unknown } else { Some(filter.ends_with("\"\"")) };
            assert_eq!(holds_in(&nested, filter), expected, "{filter}: {nested}");
        }
    }
    // A service cannot call itself a container, nor a cgroup without a name.
    for outer in [r#""engine":"systemd","unit":"web.service","#, ""] {
        let workload = format!(r#"{{{outer}"inner":{{"engine":"docker","container":"db"}}}}"#);
        assert_eq!(holds_in(&workload, "container == \"db\""), unknown);
        assert_eq!(holds_in(&workload, "container == \"\""), unknown);
        assert_eq!(holds_in(&workload, "unit == \"web.service\""), Some(!outer.is_empty()));
    }
}

#[test]
fn pods_have_names_or_ids() {
    let pod = r#"{"engine":"podman","container_id":"bb","pod_id":"aa"}"#;
    for (filter, expected) in [
        ("pod == \"aa\"", Some(true)),
        ("container == \"bb\"", Some(true)),
        ("namespace == \"\"", Some(true)),
        // Every container has an image.
        ("image == \"\"", None),
    ] {
        assert_eq!(holds_in(pod, filter), expected, "{filter}");
    }
    let pod = r#"{"engine":"crio","container":"app","pod":"web-0","pod_id":"aa","namespace":"prod"}"#;
    assert_eq!(holds_in(pod, "pod == \"web-0\" and namespace == \"prod\""), Some(true));
}

#[test]
fn an_errno_is_that_of_the_outcome() {
    let holds = |of: &str, with: &str, filter: &str| {
        let event = STREAM.lines().next().unwrap();
        let changed = event.replacen(of, with, 1);
        assert_ne!(event, changed);
        let item = StreamReader::new(changed.as_bytes()).next().unwrap().unwrap();
        Filter::parse(Source::new("--filter", filter)).unwrap().matches(&item)
    };
    let denial = r#""verdict":"deny","errno":"EPERM","#;
    let before = r#""verdict":"allow","denied_before":"EACCES","#;
    assert_eq!(holds(denial, before, "errno == EACCES"), Some(true));
    assert_eq!(holds(denial, before, "verdict == allow and outcome == denied"), Some(true));
    assert_eq!(holds(denial, r#""verdict":"allow","#, "errno == EACCES"), Some(false));
    // An observer may not know what others decide.
    let observed = r#""verdict":"allow","observer":true,"outcome_unknown":true,"#;
    for filter in ["errno == EACCES", "outcome == allowed", "outcome == denied", "stored == 1"] {
        assert_eq!(holds(denial, observed, filter), None, "{filter}");
    }
    assert_eq!(holds(denial, observed, "verdict == allow"), Some(true));
    let before = format!(r#"{observed}"denied_before":"EACCES","#);
    assert_eq!(holds(denial, &before, "errno == EACCES and outcome == denied"), Some(true));
}

#[test]
fn a_stream_that_was_cut_is_told_from_a_wrong_line() {
    let event = STREAM.lines().next().unwrap();
    let is_cut = |stream: &[u8]| {
        let mut reader = StreamReader::new(stream);
        let last = reader.by_ref().last();
        assert!(!reader.is_cut() || matches!(last, Some(Err(_))));
        reader.is_cut()
    };
    for length in 1..event.len() {
        assert!(is_cut(format!("{event}\n{}", &event[..length]).as_bytes()), "{length}");
        assert!(!is_cut(format!("{}\n", &event[..length]).as_bytes()), "{length}");
    }
    assert!(!is_cut(event.as_bytes()), "only its newline is missing");
    assert!(!is_cut(event.replace("knobgate.events", "other").as_bytes()));
    assert!(is_cut(b"{\"schema\":\"\xc3"));
    assert!(!is_cut(b"{\"schema\":\"\xff"));
}

#[test]
fn lines_of_unknown_types_are_counted() {
    let unknown = r#"{"schema":"knobgate.events","version":2,"type":"hat","sequence":9}"#;
    let stream = format!("{unknown}\n\n{unknown}\n{STREAM}");
    let mut reader = StreamReader::new(stream.as_bytes());
    assert_eq!(reader.by_ref().count(), STREAM.lines().count());
    assert_eq!(reader.left_out(), 2);
}
