//! The files of policies for containers, and what the configuration of the agent says about them.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use knobgate::ContainerPolicies;
use knobgate::policy::selector::{SelectorField, SelectorFields};
use knobgate::policy::{Mode, PolicyFile};
use tempfile::TempDir;

/// A container in this namespace, of which nothing else is known.
struct InNamespace(&'static str);

impl SelectorFields for InNamespace {
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
        (*field == SelectorField::Namespace).then_some(Cow::Borrowed(self.0.as_bytes()))
    }
}

const WEB: &str = "policy web\napply if namespace == \"prod\"\ndefault write deny\n";

/// A directory with these files. `agent.toml` is the configuration.
fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("agent.toml"), "").unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn read(directory: &TempDir) -> Result<ContainerPolicies, String> {
    let config = directory.path().join("agent.toml");
    ContainerPolicies::read(directory.path(), Some(&config))
        .map_err(|error| error.to_string().replace(directory.path().to_str().unwrap(), "DIR"))
}

fn applying(policies: &ContainerPolicies, namespace: &'static str) -> Vec<String> {
    let applying = policies.applying_to(&InNamespace(namespace)).unwrap();
    applying.iter().map(|policy| policy.name().to_owned()).collect()
}

#[test]
fn the_policies_that_apply_are_found_by_file_name() {
    let any = "policy any\napply if namespace != \"none\"\nmode audit\n";
    let directory = files(&[
        ("web.knob", WEB),
        ("a.knob", any),
        (".hidden.knob", "nonsense"),
        ("web.knob~", "nonsense"),
        ("notes.txt", "nonsense"),
    ]);
    let policies = read(&directory).unwrap();
    assert_eq!(applying(&policies, "prod"), ["any", "web"]);
    assert_eq!(applying(&policies, "dev"), ["any"]);
    assert!(applying(&policies, "none").is_empty());
    let [any, web] = policies.policies() else { panic!("two policies") };
    assert_eq!((any.denies_writes_by_default(), web.denies_writes_by_default()), (false, true));
}

#[test]
fn a_directory_that_somebody_names_has_to_be_there() {
    let directory = files(&[]);
    let config = directory.path().join("agent.toml");
    // The name of another one, and a link to a file system that is not mounted yet.
    symlink("/nonexistent", directory.path().join("link")).unwrap();
    for name in ["none", "link"] {
        let error = ContainerPolicies::read(&directory.path().join(name), Some(&config)).unwrap_err();
        assert!(error.to_string().contains(&format!("cannot read {}/{name}", directory.path().display())));
    }
}

#[test]
fn the_agent_replaces_mode_and_selectors() {
    let binding = "[[policy]]\nname = \"web\"\nmode = \"audit\"\napply-if = ['namespace == \"dev\"']\n";
    for text in
        [WEB.to_owned(), WEB.replace("default", "mode enforce # why\ndefault"), WEB.trim_end().to_owned()]
    {
        let directory = files(&[("web.knob", &text), ("agent.toml", binding)]);
        let policies = read(&directory).unwrap();
        assert!(applying(&policies, "prod").is_empty());
        assert_eq!(applying(&policies, "dev"), ["web"]);
        let [web] = policies.policies() else { panic!("one policy") };
        assert_eq!((web.mode(), web.file().policy().mode()), (Mode::Audit, Mode::Enforce));
        // What travels with the program says what is in force.
        let in_force = web.version().file();
        assert!(in_force.program_text().contains("mode audit"), "{}", in_force.program_text());
        assert!(!in_force.program_text().contains("apply"), "{}", in_force.program_text());
        assert_eq!(in_force.policy().rules(), web.file().policy().rules());
        let unbound = read(&files(&[("web.knob", &text)])).unwrap();
        assert_ne!(unbound.policies()[0].version().name(), web.version().name());
    }
}

#[test]
fn rules_keep_their_places_in_another_mode() {
    let text = format!("{WEB}include \"rules.txt\"\nallow write kernel.hostname\n");
    let rules = "# one\nallow write kernel.domainname\n";
    let binding = "[[policy]]\nname = \"web\"\nmode = \"audit\"\n";
    for text in [text.clone(), text.replace("default", "mode enforce\ndefault")] {
        let directory = files(&[("web.knob", &text), ("rules.txt", rules), ("agent.toml", binding)]);
        let policies = read(&directory).unwrap();
        let policy = &policies.policies()[0];
        assert_eq!(policy.mode(), Mode::Audit);
        let place = |file: &PolicyFile, rule| file.rule_place(rule).unwrap().line;
        assert_eq!(place(policy.file(), 0), 2);
        for rule in 0..2 {
            assert_eq!(place(policy.version().file(), rule), place(policy.file(), rule), "{rule}");
        }
    }
}

#[test]
fn selectors_are_no_part_of_a_version() {
    let [one, other] = ["prod", "dev"].map(|namespace| {
        let policies = read(&files(&[("web.knob", &WEB.replace("prod", namespace))])).unwrap();
        policies.policies()[0].version().name().clone()
    });
    assert_eq!(one, other);
}

#[test]
fn a_policy_may_include_files() {
    let directory = files(&[
        ("web.knob", &format!("{WEB}include \"rules.txt\"\n")),
        ("rules.txt", "allow write kernel.domainname\n"),
    ]);
    let policies = read(&directory).unwrap();
    assert!(policies.policies()[0].version().file().program_text().contains("kernel.domainname"));
}

#[test]
fn an_error_names_file_and_line() {
    let bound = |text: &'static str| [("web.knob", WEB), ("agent.toml", text)];
    for (wrong, expected) in [
        (&[("web.knob", "policy web\nalow write x\n")][..], "DIR/web.knob:2:1: there is no action `alow`"),
        (
            &[("web.knob", "policy web\n")],
            "DIR/web.knob: nothing says to which containers the policy \"web\" applies; add `apply if …` to it",
        ),
        (
            &[("a.knob", WEB), ("b.knob", WEB)],
            "DIR/a.knob and DIR/b.knob have policies that cannot be told apart by their names, \"web\" and \"web\"",
        ),
        (
            &[("a.knob", &WEB.replace("web", "a.b")), ("b.knob", &WEB.replace("web", "a_b"))],
            "by their names, \"a.b\" and \"a_b\"; rename one",
        ),
        (
            &bound("\n[[policy]]\nname = \"wep\"\n"),
            "DIR/agent.toml:3: there is no policy \"wep\" in DIR (there is: web)",
        ),
        (&bound("[[policy]]\nname = \"web\"\nmod = \"audit\"\n"), "DIR/agent.toml:3: unknown field `mod`"),
        (&bound("[[policy]]\nname = \"web\"\nmode = \"off\"\n"), "DIR/agent.toml:3: unknown variant `off`"),
        (&bound("[policies]\n"), "DIR/agent.toml:1: unknown field `policies`"),
        (&bound("[[policy]]\n"), "DIR/agent.toml:1: missing field `name`"),
        (&bound("x = \n"), "DIR/agent.toml:1: "),
        (
            &bound("[[policy]]\nname = \"web\"\n[[policy]]\nname = \"web\"\n"),
            "DIR/agent.toml:4: the policy \"web\" is bound twice",
        ),
        (
            &bound("[[policy]]\nname = \"web\"\napply-if = [\n'namespace = \"x\"',\n]\n"),
            "DIR/agent.toml:4: apply-if:1:",
        ),
        (&bound("[[policy]]\nname = \"web\"\napply-if = []\n"), "nothing says to which containers"),
    ] {
        let error = read(&files(wrong)).unwrap_err();
        assert!(error.contains(expected), "{error}\nis not\n{expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let directory = files(&[]);
    let missing = ContainerPolicies::read(directory.path(), Some(Path::new("/nonexistent.toml")));
    assert!(missing.unwrap_err().to_string().contains("cannot read /nonexistent.toml"));
}

#[test]
fn what_is_not_known_is_an_error() {
    let policy = WEB.replace("namespace == \"prod\"", "label(\"app\") == \"web\"");
    let policies = read(&files(&[("web.knob", &policy)])).unwrap();
    let error = policies.applying_to(&InNamespace("prod")).unwrap_err().to_string();
    assert!(
        error.contains("the policy \"web\" applies to the container: it looks at label(\"app\")"),
        "{error}"
    );
}

#[test]
fn one_selector_that_holds_is_enough_in_whatever_order_they_are() {
    let (known, unknown) = ("apply if namespace == \"prod\"\n", "apply if label(\"app\") == \"web\"\n");
    for selectors in [[known, unknown], [unknown, known]] {
        let policies = read(&files(&[("web.knob", &WEB.replace(known, &selectors.concat()))])).unwrap();
        assert_eq!(applying(&policies, "prod"), ["web"]);
        let error = policies.applying_to(&InNamespace("dev")).unwrap_err().to_string();
        assert!(error.contains("label(\"app\")"), "{error}");
    }
}
