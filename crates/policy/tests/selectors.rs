//! `apply if`: which containers and units a policy applies to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use knobgate_policy::selector::{
    FieldTest, Predicate, Selector, SelectorCondition, SelectorField, SelectorFields,
};
use knobgate_policy::{
    CheckOptions, Diagnostic, ParseError, PolicyFile, Source, Suggestion, limits, parse, parse_json, print,
    print_json,
};

/// A container or unit: its fields by what the language calls them.
struct Fields(HashMap<&'static str, &'static str>);

impl SelectorFields for Fields {
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
        self.0.get(field.to_string().as_str()).map(|text| Cow::Borrowed(text.as_bytes()))
    }
}

fn pod() -> Fields {
    Fields(HashMap::from([
        ("engine", "containerd"),
        ("cgroup", "/kubepods.slice/kubepods-pod1.slice/cri-containerd-4f6b.scope"),
        ("unit", "cri-containerd-4f6b.scope"),
        ("container", "nginx"),
        ("pod", "web-0"),
        ("namespace", "prod"),
        ("image", "nginx:1.27"),
        ("label(\"app\")", "web"),
        ("label(\"none\")", ""),
    ]))
}

fn selector(text: &str) -> Result<Selector, ParseError> {
    Selector::parse(Source::new("selector", text))
}

fn holds(text: &str, fields: &Fields) -> Option<bool> {
    let selector = selector(text).unwrap_or_else(|error| panic!("{error}"));
    let decision = selector.decide(fields);
    assert_eq!(decision.holds, selector.holds(fields), "{text}");
    assert!(!decision.because.is_empty());
    decision.holds
}

#[test]
fn fields_are_compared() {
    let pod = pod();
    for (text, expected) in [
        ("engine == containerd", true),
        ("engine != containerd", false),
        ("engine in {docker, containerd}", true),
        ("not engine in {docker, containerd}", false),
        ("namespace == \"prod\"", true),
        ("\"prod\" == namespace", true),
        ("namespace in {\"prod\", \"staging\"}", true),
        ("pod starts with \"web-\"", true),
        ("pod contains \"eb\"", true),
        ("pod matches \"web-[0-9]\"", true),
        ("label(\"app\") == \"web\"", true),
        ("label( \"app\" ) != \"web\"", false),
        ("label(\"none\") == \"\"", true),
        ("unit matches \"*.scope\"", true),
        ("(namespace == \"prod\" and not pod == \"db-0\") or engine == lxc", true),
    ] {
        assert_eq!(holds(text, &pod), Some(expected), "{text}");
    }
}

#[test]
fn names_of_images_are_compared_in_full() {
    let pod = pod();
    for (text, expected) in [
        ("image == \"nginx:1.27\"", true),
        ("image == \"docker.io/library/nginx:1.27\"", true),
        ("image == \"index.docker.io/nginx:1.27\"", true),
        ("image == \"nginx\"", false),
        ("image != \"nginx\"", true),
        ("image in {\"redis\", \"library/nginx:1.27\"}", true),
        ("image starts with \"docker.io/library/nginx:\"", true),
        ("image matches \"docker.io/library/*:1.*\"", true),
        ("image contains \"/nginx:\"", true),
        ("image == \"sha256:4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f\"", false),
        ("image == \"\"", false),
    ] {
        assert_eq!(holds(text, &pod), Some(expected), "{text}");
    }
    assert_eq!(
        selector("image == \"nginx\"").unwrap().to_string(),
        "image == \"docker.io/library/nginx:latest\""
    );
    let by_id = Fields(HashMap::from([("image", "sha256:4f6b")]));
    assert_eq!(holds("image starts with \"docker.io/\"", &by_id), Some(true), "too short for an id");
}

#[test]
fn globs_for_cgroups_begin_at_the_root_and_stay_in_their_component() {
    let at = |path| Fields(HashMap::from([("cgroup", path)]));
    let (docker, nested) = (at("/system.slice/docker-1.scope"), at("/system.slice/docker-1.scope/init"));
    for (glob, of_docker, of_nested) in [
        ("/system.slice/docker-*.scope", true, false),
        ("/system.slice/*", true, false),
        ("/*", false, false),
        ("/system.slice/**", true, true),
        ("/**", true, true),
        ("/{user,system}.slice/docker-[0-9].scope", true, false),
        ("/system?slice/docker-*", true, false),
    ] {
        let text = format!("cgroup matches \"{glob}\"");
        assert_eq!(
            (holds(&text, &docker), holds(&text, &nested)),
            (Some(of_docker), Some(of_nested)),
            "{glob}"
        );
    }
}

#[test]
fn what_is_not_known_cannot_be_evaluated() {
    let fields = Fields(HashMap::from([("namespace", "prod")]));
    for (text, expected) in [
        ("pod == \"web\"", None),
        ("not pod == \"web\"", None),
        ("namespace == \"dev\" and pod == \"web\"", Some(false)),
        ("pod == \"web\" and namespace == \"dev\"", None),
        ("namespace == \"prod\" or pod == \"web\"", Some(true)),
        ("pod == \"web\" or namespace == \"prod\"", None),
        ("not (namespace == \"prod\" and pod == \"web\")", None),
        ("engine == docker", None),
    ] {
        assert_eq!(holds(text, &fields), expected, "{text}");
    }
}

#[test]
fn a_decision_names_the_tests_that_made_it() {
    let pod = pod();
    for (text, because) in [
        ("namespace == \"dev\" and pod == \"web-0\"", "`namespace == \"dev\"`: it is \"prod\""),
        (
            "namespace == \"prod\" and pod == \"web-0\"",
            "`namespace == \"prod\"`: it is \"prod\"; `pod == \"web-0\"`: it is \"web-0\"",
        ),
        (
            "not image == \"nginx\"",
            "`image == \"docker.io/library/nginx:latest\"`: it is \"docker.io/library/nginx:1.27\"",
        ),
        (
            "engine == docker or label(\"none\") == \"a\"",
            "`engine == docker`: it is \"containerd\"; `label(\"none\") == \"a\"`: there is none",
        ),
        ("label(\"x\") == \"a\"", "`label(\"x\") == \"a\"`: label(\"x\") is not known"),
    ] {
        let selector = selector(text).unwrap();
        let tests: Vec<String> = selector.decide(&pod).because.iter().map(ToString::to_string).collect();
        assert_eq!(tests.join("; "), because, "{text}");
    }
    let hostile = Fields(HashMap::from([("pod", "a\x1b[2J\u{202e}")]));
    let selector = selector("pod == \"a\"").unwrap();
    assert_eq!(
        selector.decide(&hostile).because[0].to_string(),
        r#"`pod == "a"`: it is "a\x1b[2J\xe2\x80\xae""#
    );
}

fn checked(text: &str) -> Result<PolicyFile, ParseError> {
    parse(Source::new("x.knob", text), &CheckOptions::default())
}

#[test]
fn one_of_several_selectors_is_enough() {
    let file =
        checked("policy x\napply if namespace == \"dev\"\nallow write vm.a\napply if pod == \"web-0\"\n")
            .unwrap();
    assert_eq!(file.policy().apply_if().len(), 2);
    assert_eq!(file.apply_if_place(1).map(|place| place.line), Some(4));
    assert_eq!(file.policy().applies_to(&pod()), Some(true));
    assert_eq!(checked("policy x\n").unwrap().policy().applies_to(&pod()), Some(false), "by itself");
    let unknown = Fields(HashMap::from([("pod", "web-0")]));
    assert_eq!(file.policy().applies_to(&unknown), Some(true), "whatever the first one cannot evaluate");
    let other = Fields(HashMap::from([("pod", "web-1")]));
    assert_eq!(file.policy().applies_to(&other), None, "the first one may hold");
}

#[test]
fn a_selector_is_printed_as_it_is_parsed_again_and_so_is_its_json() {
    for text in [
        "engine in {docker, podman} and (namespace == \"a\" or not pod starts with \"b\")",
        "not (engine == lxc or cgroup matches \"/a/**\")",
        "not engine in {docker, podman}",
        "image matches \"docker.io/**\" and label(\"a\\\"\\n\") contains \"\\xff\"",
    ] {
        let text = format!("policy x\napply if {text}\n");
        let file = checked(&text).unwrap_or_else(|error| panic!("{error}"));
        let printed = print(file.policy());
        assert_eq!(checked(&printed).unwrap().policy(), file.policy(), "{printed}");
        let json = print_json(file.policy());
        assert_eq!(
            parse_json("x", &json, &CheckOptions::default()).unwrap().policy(),
            file.policy(),
            "{json}"
        );
    }
}

#[test]
fn a_program_text_has_no_selectors_and_the_same_lines() {
    let text = "policy x # a\r\napply if namespace == \"a\" and # b\r\n  pod == \"c\" # d\r\nallow write vm.a\r\n  apply if (\n\n engine == lxc\n)";
    let file = checked(text).unwrap();
    assert_eq!(file.program_text(), "policy x # a\r\n\r\n\r\nallow write vm.a\r\n\n\n\n");
    assert_eq!(file.rule_place(0).map(|place| place.line), Some(4));
    let program = checked(&file.program_text()).unwrap();
    assert_eq!(program.rule_place(0).map(|place| place.line), Some(4));
    assert_eq!(*program.policy(), file.policy().clone().with_apply_if([]));
    let same = checked("policy x\nallow write vm.a\n").unwrap();
    assert!(matches!(same.program_text(), Cow::Borrowed("policy x\nallow write vm.a\n")));
}

fn applied(text: &str, fix: &Suggestion) -> String {
    let mut fixed = text.to_owned();
    fixed.replace_range(fix.span.range(), &fix.replacement);
    fixed
}

/// Wrong statements, and the right ones after all fixes.
const FIXES: &[(&str, &str)] = &[
    ("aply if pod == \"a\"", "apply if pod == \"a\""),
    ("apply when pod == \"a\"", "apply if pod == \"a\""),
    ("apply pod == \"a\"", "apply if pod == \"a\""),
    ("apply if pod = \"a\"", "apply if pod == \"a\""),
    ("apply if pod == a", "apply if pod == \"a\""),
    ("apply if pod == web-0", "apply if pod == \"web-0\""),
    ("apply if pod in {a, b}", "apply if pod in {\"a\", \"b\"}"),
    ("apply if pod == {\"a\", \"b\"}", "apply if pod in {\"a\", \"b\"}"),
    ("apply if pdo == \"a\"", "apply if pod == \"a\""),
    ("apply if ns == \"a\"", "apply if namespace == \"a\""),
    ("apply if service == \"a.service\"", "apply if unit == \"a.service\""),
    ("apply if pod like \"a*\"", "apply if pod matches \"a*\""),
    ("apply if pod == \"a*\"", "apply if pod matches \"a*\""),
    ("apply if pod == \"a\" && container == \"b\"", "apply if pod == \"a\" and container == \"b\""),
    ("apply if pod == \"a\" adn container == \"b\"", "apply if pod == \"a\" and container == \"b\""),
    ("apply if unit == \"nginx\"", "apply if unit == \"nginx.service\""),
    ("apply if unit in {\"a.socket\", \"b\"}", "apply if unit in {\"a.socket\", \"b.service\"}"),
    ("apply if engine == \"docker\"", "apply if engine == docker"),
    ("apply if engine == CRI-O", "apply if engine == crio"),
    ("apply if engine in {docker, cri-o}", "apply if engine in {docker, crio}"),
    ("applies if pod == \"a\"", "apply if pod == \"a\""),
    ("apply if: pod == \"a\"", "apply if pod == \"a\""),
    ("apply if cgroup == /a/b", "apply if cgroup == \"/a/b\""),
    ("apply if image == \"ghcr.io/Org/App:V1\"", "apply if image == \"ghcr.io/org/app:V1\""),
    (
        "apply if image == \"Nginx@sha256:4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a\"",
        "apply if image == \"nginx@sha256:4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a\"",
    ),
    ("apply if engine == dokcer", "apply if engine == docker"),
    ("apply if engine == {docker, podman}", "apply if engine in {docker, podman}"),
    ("apply if engine == docker or podman", "apply if engine == docker or engine == podman"),
    ("apply if label \"a\" == \"b\"", "apply if label(\"a\") == \"b\""),
    ("apply if label[\"a\"] == \"b\"", "apply if label(\"a\") == \"b\""),
    ("apply if label(app) == \"b\"", "apply if label(\"app\") == \"b\""),
    ("apply if label(\"a\") == b", "apply if label(\"a\") == \"b\""),
    ("apply if cgroup == \"system.slice/a\"", "apply if cgroup == \"/system.slice/a\""),
    ("apply if cgroup == \"/system.slice/\"", "apply if cgroup == \"/system.slice\""),
    ("apply if cgroup starts with \"system.slice/\"", "apply if cgroup starts with \"/system.slice/\""),
    ("apply if cgroup matches \"system.slice/*\"", "apply if cgroup matches \"/system.slice/*\""),
    ("apply if cgroup matches \"/system.slice/\"", "apply if cgroup matches \"/system.slice/**\""),
    ("apply if image starts with \"nginx:\"", "apply if image starts with \"docker.io/library/nginx:\""),
    (
        "apply if image starts with \"docker.io/nginx:\"",
        "apply if image starts with \"docker.io/library/nginx:\"",
    ),
    ("apply if image starts with \"bitnami/\"", "apply if image starts with \"docker.io/bitnami/\""),
    ("apply if image matches \"nginx*\"", "apply if image matches \"docker.io/library/nginx*\""),
];

/// The start of a policy under which the containers of every engine start.
const HEADER: &str = "policy x\nmode audit\n";

#[test]
fn fixes_give_the_statement_that_was_meant() {
    for (wrong, right) in FIXES {
        let mut text = format!("{HEADER}{wrong}\n");
        let fix = |text: &str| {
            let diagnostics: Vec<Diagnostic> = match checked(text) {
                Ok(file) => file.warnings().to_vec(),
                Err(error) => error.into_iter().collect(),
            };
            diagnostics.into_iter().find_map(|diagnostic| diagnostic.suggestion)
        };
        while let Some(fix) = fix(&text) {
            text = applied(&text, &fix);
            assert!(text.len() < 200, "{wrong} became {text}");
        }
        assert_eq!(text, format!("{HEADER}{right}\n"), "{wrong}");
        assert!(checked(&text).is_ok(), "{text}");
    }
}

/// All diagnostics about each of `texts`.
fn table(texts: &[&str]) -> String {
    let mut table = String::new();
    for text in texts {
        let text = format!("{HEADER}{text}");
        let (source, diagnostics) = match checked(&text) {
            Ok(file) => (file.source().clone(), file.warnings().to_vec()),
            Err(error) => (error.text().clone(), error.into_iter().collect()),
        };
        writeln!(table, "{}", source.text().strip_prefix(HEADER).unwrap()).unwrap();
        assert!(!diagnostics.is_empty(), "{text}");
        for diagnostic in diagnostics {
            let at = source.slice(diagnostic.primary.span);
            let (severity, code) = (diagnostic.severity, diagnostic.code);
            write!(table, "  {severity}[{code}] at {at:?}: {}", diagnostic.message).unwrap();
            if let Some(help) = &diagnostic.help {
                write!(table, "; {help}").unwrap();
            }
            writeln!(table).unwrap();
        }
    }
    table
}

#[test]
fn mistakes() {
    let table = table(&[
        "apply",
        "apply if",
        "apply to prod",
        "apply if\npod == \"a\"",
        "apply if pod",
        "apply if pod ==",
        "apply if pod < \"a\"",
        "apply if pod == 5",
        "apply if pod == container",
        "apply if pod in 1..2",
        "apply if pod in {}",
        "apply if pod in {\"a\", 1}",
        "apply if pod matches \"[a\"",
        "apply if \"a\" == \"b\"",
        "apply if 1 == 2",
        "apply if uid == 0",
        "apply if new == 1",
        "apply if banana == \"a\"",
        "apply if docker",
        "apply if count(pod) == 1",
        "apply if kernel.panic == 1",
        "apply if engine",
        "apply if engine == banana",
        "apply if engine == k8s",
        "apply if engine < docker",
        "apply if engine matches \"d*\"",
        "apply if engine in {}",
        "apply if label == \"a\"",
        "apply if label() == \"a\"",
        "apply if label(\"a\" == \"b\"",
        "apply if label(\"a\")",
        "apply if label.app == \"a\"",
        "apply if cgroup == \"\"",
        "apply if cgroup matches \"/a//b\"",
        "apply if cgroup matches \"//a\"",
        "apply if cgroup matches \"/a/[/]\"",
        "apply if cgroup matches \"/a/{b\"",
        "apply if image == \"Nginx\"",
        "apply if image == \"nginx:*\"",
        "apply if image == \"nginx@sha256:1\"",
        "apply if image in {\"nginx\", \"a b\"}",
        "apply if (pod == \"a\"",
        "apply if pod == \"a\")",
        "apply if pod == \"a\" allow write vm.a",
        "apply if pod == \"a\" log",
        "apply unless pod == \"a\"",
    ]);
    insta::assert_snapshot!(table);
}

#[test]
fn what_whoever_starts_a_container_can_get_around_is_warned_of() {
    let table = table(&[
        "apply if image != \"nginx\"",
        "apply if not pod == \"a\"",
        "apply if not (namespace == \"a\" and container in {\"b\", \"c\"})",
        "apply if not not not label(\"a\") starts with \"b\"",
        "apply if cgroup matches \"/**/docker-*.scope\"",
        "apply if cgroup matches \"/**.service\"",
        "apply if cgroup contains \"docker\"",
        "apply if pod != \"a*\"",
        "apply if pod in {\"a\", \"b*\"}",
        "apply if pod contains \"*a\"",
        "apply if image starts with \"registry.example/web/*\"",
        "apply if cgroup starts with \"/a/*/b*\"",
        "apply if image starts with \"docker.io/nginx\"",
        "apply if image matches \"docker.io/nginx*\"",
    ]);
    insta::assert_snapshot!(table);
    for fine in [
        "namespace != \"kube-system\"",
        "not engine == docker",
        "not not image == \"nginx\"",
        "not (namespace == \"a\" and pod != \"b\")",
        "cgroup matches \"/**\"",
        "cgroup matches \"/user.slice/**\"",
        "not cgroup starts with \"/system.slice/\"",
        "pod == \"\"",
        "unit == \"\"",
        "image starts with \"docker.io/lib\"",
        "image starts with \"docker.io/bitnami/\"",
        "image matches \"docker.io/lib*\"",
        "image matches \"docker.io/*\"",
        "image matches \"docker.io/{library,bitnami}/*\"",
        "pod matches \"web-*\"",
    ] {
        let file = checked(&format!("{HEADER}apply if {fine}\n")).unwrap();
        assert_eq!(file.warnings(), [], "{fine}");
    }
}

#[test]
fn tests_of_fields_are_checked_however_they_are_made() {
    let text = |text: &str| Predicate::Equals(text.into());
    for (field, predicate) in [
        (SelectorField::Engine, text("banana")),
        (SelectorField::Engine, Predicate::Contains("d".into())),
        (SelectorField::Cgroup, text("a")),
        (SelectorField::Cgroup, Predicate::Matches("/a".parse().unwrap())),
        (SelectorField::Pod, Predicate::MatchesPath("/a".parse().unwrap())),
        (SelectorField::Image, text("a b")),
        (SelectorField::Unit, text("nginx")),
        (SelectorField::Image, Predicate::StartsWith("nginx".into())),
        (SelectorField::Image, Predicate::Matches("nginx*".parse().unwrap())),
    ] {
        assert!(FieldTest::new(field.clone(), predicate.clone()).is_err(), "{field} {predicate:?}");
    }
    let engine = FieldTest::new(SelectorField::Engine, text("crio")).unwrap();
    let mut condition = SelectorCondition::Test(engine);
    for _ in 0..=limits::NESTING_MAX {
        assert!(Selector::new(condition.clone()).is_ok());
        condition = SelectorCondition::Not(Box::new(condition));
    }
    assert!(Selector::new(condition).is_err(), "nested too deep");
    assert!(SelectorCondition::all([]).is_err() && SelectorCondition::any([]).is_err());
    assert!(Predicate::one_of([]).is_err());
}

#[test]
fn errors_in_json_name_the_path() {
    for (selector, path) in [
        (r#"{"text": {"operand": "engine", "test": {"equals": "dokcer"}}}"#, "apply_if[0].text.test"),
        (
            r#"{"not": {"text": {"operand": "image", "test": {"in": ["nginx", "a b"]}}}}"#,
            "apply_if[0].not.text.test",
        ),
        (r#"{"text": {"operand": "cgroup", "test": {"matches": "a/*"}}}"#, "apply_if[0].text.test.matches"),
        (
            r#"{"any": [{"text": {"operand": {"label": {"hex": "0"}}, "test": {"in": []}}}]}"#,
            "apply_if[0].any[0].text.operand.label",
        ),
        (r#"{"all": []}"#, "apply_if[0].all"),
    ] {
        let json = format!(r#"{{"name": "x", "apply_if": [{selector}]}}"#);
        let error = parse_json("x.json", &json, &CheckOptions::default()).unwrap_err();
        assert_eq!(error.diagnostics()[0].path, path, "{error}");
    }
}

#[test]
fn deep_nesting_is_an_error() {
    for (part, times) in [("not ", 1 << 16), ("(", 1 << 16), ("pod == \"a\" and (", 33)] {
        let error = selector(&format!("{}pod == \"a\"", part.repeat(times))).unwrap_err();
        assert_eq!(error.diagnostics()[0].code, "nesting-too-deep", "{part}");
    }
}

#[test]
fn a_selector_alone_has_no_statement() {
    for (wrong, code) in [
        ("", "empty-selector"),
        ("apply if pod == \"a\"", "stray-word"),
        ("pod == \"a\" banana", "unexpected"),
    ] {
        assert_eq!(selector(wrong).unwrap_err().diagnostics()[0].code, code, "{wrong}");
    }
    assert!(selector("pod == \"a\"\n  and unit == \"b.service\"\n").is_ok());
}
