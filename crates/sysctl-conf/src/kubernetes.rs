//! Kubernetes manifests: every `securityContext` with `sysctls`, wherever it is.
//!
//! The type of those is `PodSecurityContext` (kubernetes, staging/src/k8s.io/api/core/v1/types.go). Pods have one, and so has
//! every template of pods, in a Deployment, a CronJob, a List, or a resource of somebody else. The kubelet accepts names with
//! dots and with slashes (`NormalizeName`, k8s.io/component-helpers/node/util/sysctl). Merge keys (`<<`) are followed, as kubectl
//! follows them (go-yaml).

use std::collections::HashSet;
use std::rc::Rc;

use crate::yaml::{Node, Value, documents};
use crate::{LineError, Settings};

pub(crate) fn read(text: &str) -> Settings {
    let mut settings = Settings::default();
    match documents(text) {
        Ok(documents) => {
            let mut visitor =
                Visitor { visited: HashSet::new(), read: HashSet::new(), settings: &mut settings };
            documents.iter().for_each(|document| visitor.visit(document));
        }
        Err(error) => settings.error(error),
    }
    settings
}

/// Looks at nodes, at those that several aliases share once.
struct Visitor<'a> {
    visited: HashSet<*const Node>,
    /// The lists of sysctls.
    read: HashSet<*const Node>,
    settings: &'a mut Settings,
}

impl Visitor<'_> {
    /// Looks at `node` and all below it.
    fn visit(&mut self, node: &Rc<Node>) {
        if !self.visited.insert(Rc::as_ptr(node)) {
            return;
        }
        match &node.value {
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    match value.get("sysctls") {
                        Some(sysctls) if key.scalar() == Some("securityContext") => {
                            if self.read.insert(Rc::as_ptr(sysctls)) {
                                read_sysctls(sysctls, self.settings);
                            }
                        }
                        _ => self.visit(value),
                    }
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.visit(item)),
            Value::Scalar { .. } | Value::Null => {}
        }
    }
}

fn read_sysctls(sysctls: &Node, settings: &mut Settings) {
    let items = match &sysctls.value {
        Value::Sequence(items) => items.as_slice(),
        Value::Null => return,
        _ => return settings.error(LineError::new(sysctls.line, "`sysctls` is not a list").help(FORM)),
    };
    for item in items {
        let field = |name: &str| item.get(name).and_then(|value| value.scalar());
        match (field("name"), field("value")) {
            (Some(name), Some(value)) => settings.set(item.line, name, value),
            _ => settings.error(LineError::new(item.line, "this has no `name` and `value`").help(FORM)),
        }
    }
}

const FORM: &str = "write `- {name: kernel.shm_rmid_forced, value: \"1\"}`";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let settings = read(text);
        assert_eq!(settings.errors, []);
        settings.settings.into_iter().map(|one| (one.line, one.key.to_string(), one.value)).collect()
    }

    #[test]
    fn pods_and_all_templates_are_read() {
        let sysctls = |indent: usize| {
            let blanks = " ".repeat(indent);
            format!(
                "{blanks}securityContext:\n{blanks}  sysctls:\n{blanks}  - name: net.core.somaxconn\n{blanks}    value: \"1024\"\n"
            )
        };
        for (text, line) in [
            (format!("apiVersion: v1\nkind: Pod\nspec:\n{}", sysctls(2)), 6),
            (format!("kind: Deployment\nspec:\n  template:\n    spec:\n{}", sysctls(6)), 7),
            (
                format!(
                    "kind: CronJob\nspec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n{}",
                    sysctls(10)
                ),
                9,
            ),
            (format!("kind: List\nitems:\n- kind: Pod\n  spec:\n{}", sysctls(4)), 7),
            (format!("---\nkind: ConfigMap\n---\nkind: Pod\nspec:\n{}", sysctls(2)), 8),
        ] {
            assert_eq!(found(&text), [(line, "net.core.somaxconn".to_owned(), "1024".to_owned())], "{text}");
        }
        let json = r#"{"kind": "Pod", "spec": {"securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": "1"}]}}}"#;
        assert_eq!(found(json), [(1, "net.core.somaxconn".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn merge_keys_are_followed_and_what_is_shared_is_read_once() {
        let text = "\
x-context: &context
  sysctls:
  - &one {name: a.b, value: \"1\"}
  - {<<: *one, value: \"2\"}
items:
- kind: Pod
  spec: {securityContext: {<<: *context}}
- kind: Pod
  spec: {securityContext: {<<: *context, runAsUser: 1}}
- kind: Pod
  spec:
    securityContext:
      <<: *context
      sysctls: [{name: c.d, value: \"3\"}]
";
        let expected = [(3, "a.b", "1"), (4, "a.b", "2"), (14, "c.d", "3")];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(found(text), expected);
    }

    #[test]
    fn what_is_no_list_of_names_and_values_is_an_error() {
        for (sysctls, line, message) in [
            ("{net.core.somaxconn: 1}", 1, "`sysctls` is not a list"),
            ("\n  - name: net.core.somaxconn\n", 2, "this has no `name` and `value`"),
            (
                "\n  - name: net.core.somaxconn\n    value: |\n      1\n",
                2,
                "the value of `net.core.somaxconn` has more than one line",
            ),
            (
                "\n  - {name: 'a b', value: '1'}\n",
                2,
                "`a b` names no knob: it contains a blank or a control character",
            ),
        ] {
            let settings = read(&format!(
                "securityContext: {{}}\nx: {{}}\nspec:\n securityContext:\n  sysctls: {sysctls}"
            ));
            let errors: Vec<_> =
                settings.errors.iter().map(|one| (one.line - 4, one.message.as_str())).collect();
            assert_eq!(errors, [(line, message)]);
        }
    }
}
