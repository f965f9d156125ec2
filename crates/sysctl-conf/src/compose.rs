//! Compose files: `sysctls` of services, as a mapping or as a list of `name=value` (compose-spec, 05-services.md).
//!
//! Merge keys (`<<`) are followed; `extends` and `include` are not, since they name other files.

use std::collections::HashSet;
use std::rc::Rc;

use crate::yaml::{Node, Value, documents};
use crate::{LineError, Settings};

/// How many mappings may be merged into one.
const MERGES_MAX: usize = 16;

pub(crate) fn read(text: &str) -> Settings {
    let mut settings = Settings::default();
    match documents(text) {
        Ok(documents) => {
            let services = documents.iter().filter_map(|document| document.get("services")?.mapping());
            for (_, service) in services.flatten() {
                if let Some(sysctls) = merged(service).into_iter().find_map(|one| one.get("sysctls")) {
                    read_sysctls(sysctls, &mut settings);
                }
            }
        }
        Err(error) => settings.error(error),
    }
    settings
}

/// A mapping, and those that are merged into it, the one that counts most first.
fn merged(node: &Rc<Node>) -> Vec<&Rc<Node>> {
    let mut mappings = Vec::new();
    let mut open = vec![node];
    while let Some(mapping) = open.pop().filter(|_| mappings.len() <= MERGES_MAX) {
        mappings.push(mapping);
        if let Some(merge) = mapping.get("<<") {
            open.extend(merge.sequence().unwrap_or(std::slice::from_ref(merge)).iter().rev());
        }
    }
    mappings
}

fn read_sysctls(sysctls: &Rc<Node>, settings: &mut Settings) {
    match &sysctls.value {
        Value::Mapping(_) => {
            let mut seen = HashSet::new();
            for (key, value) in merged(sysctls).into_iter().filter_map(|one| one.mapping()).flatten() {
                let Some(name) = key.scalar().filter(|name| *name != "<<" && seen.insert(*name)) else {
                    continue;
                };
                match value.scalar() {
                    Some(value) => set(key.line, name, value, settings),
                    None => {
                        let error = LineError::new(key.line, format!("`{name}` has no value"));
                        settings.error(error.help("write `name: value`"));
                    }
                }
            }
        }
        Value::Sequence(items) => {
            for item in items {
                match item.scalar().map(|text| (text, text.split_once('='))) {
                    Some((_, Some((name, value)))) => set(item.line, name, value, settings),
                    Some((text, None)) => settings.assign(item.line, text),
                    None => settings.error(LineError::new(item.line, "this is not `name=value`")),
                }
            }
        }
        Value::Null => {}
        Value::Scalar(_) => {
            let error = LineError::new(sysctls.line, "`sysctls` is neither a mapping nor a list");
            settings.error(error.help("write `- name=value`"));
        }
    }
}

/// Adds a setting, unless compose fills something in. `$$` is a `$`.
fn set(line: usize, name: &str, value: &str, settings: &mut Settings) {
    let is_filled_in = |text: &str| text.replace("$$", "").contains('$');
    if is_filled_in(name) || is_filled_in(value) {
        let error = LineError::new(line, format!("compose fills in a part of `{name}={value}`"));
        return settings.error(error.help("check what `docker compose config` prints instead"));
    }
    settings.set(line, &name.replace("$$", "$"), value.replace("$$", "$"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let settings = read(text);
        assert_eq!(settings.errors, []);
        settings.settings.into_iter().map(|one| (one.line, one.key.to_string(), one.value)).collect()
    }

    fn expected(settings: &[(usize, &str, &str)]) -> Vec<(usize, String, String)> {
        settings.iter().map(|(line, key, value)| (*line, (*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn mappings_and_lists_are_read() {
        let text = "\
services:
  web:
    sysctls:
      net.core.somaxconn: 1024
      net.ipv4.tcp_rmem: \"4096 1 2\"
  db:
    sysctls:
      - net.core.somaxconn=0x10
      - kernel.core_pattern=a=$$b
  none:
    image: x
x-other:
  sysctls: {a.b: 1}
";
        assert_eq!(
            found(text),
            expected(&[
                (4, "net.core.somaxconn", "1024"),
                (5, "net.ipv4.tcp_rmem", "4096 1 2"),
                (8, "net.core.somaxconn", "0x10"),
                (9, "kernel.core_pattern", "a=$b"),
            ])
        );
    }

    #[test]
    fn merge_keys_are_followed_and_own_keys_count_more() {
        let text = "\
x-sysctls: &sysctls
  a.b: 1
  c.d: 2
x-base: &base
  sysctls: {e.f: 3}
services:
  one:
    sysctls:
      <<: *sysctls
      c.d: 5
  two:
    <<: [*base]
  three:
    <<: *base
    sysctls: [\"a.b=6\"]
";
        assert_eq!(
            found(text),
            expected(&[(10, "c.d", "5"), (2, "a.b", "1"), (5, "e.f", "3"), (15, "a.b", "6")])
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for (sysctls, message) in [
            ("1", "`sysctls` is neither a mapping nor a list"),
            ("[a.b]", "`a.b` has no `=`"),
            ("[{a.b: 1}]", "this is not `name=value`"),
            ("{a.b: }", "`a.b` has no value"),
            ("{a.b: [1]}", "`a.b` has no value"),
            ("{a.b: \"${B:-1}\"}", "compose fills in a part of `a.b=${B:-1}`"),
            ("[a.b=$B]", "compose fills in a part of `a.b=$B`"),
        ] {
            let settings = read(&format!("services:\n  web:\n    sysctls: {sysctls}\n"));
            let errors: Vec<_> = settings.errors.iter().map(|one| (one.line, one.message.as_str())).collect();
            assert_eq!(errors, [(3, message)]);
        }
    }
}
