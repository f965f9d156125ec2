//! Which kind of file a text is, and its settings.

use std::path::Path;

use crate::yaml::documents;
use crate::{Conf, LineError, Settings, compose, kubernetes, quadlet};

/// A kind of file that has settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// sysctl.d(5) and sysctl.conf(5).
    Sysctl,
    /// A Kubernetes manifest in YAML or JSON, of any number of documents.
    Kubernetes,
    /// A compose file.
    Compose,
    /// A Quadlet unit, or a drop-in for one.
    Quadlet,
}

impl FileKind {
    /// The kind of the file called `name` with this text; `None` if neither tells.
    ///
    /// ```
    /// use knobgate_sysctl_conf::FileKind;
    ///
    /// assert_eq!(FileKind::detect("99-web.conf", "vm.swappiness = 10\n"), Some(FileKind::Sysctl));
    /// assert_eq!(FileKind::detect("web.yaml", "services:\n  web: {}\n"), Some(FileKind::Compose));
    /// assert_eq!(FileKind::detect("-", "hello\n"), None);
    /// ```
    pub fn detect(name: &str, text: &str) -> Option<Self> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        match extension {
            Some("container") => Some(Self::Quadlet),
            Some("yaml" | "yml" | "json") => {
                yaml(text).or_else(|| may_be_kubernetes(text).then_some(Self::Kubernetes))
            }
            Some("conf") => Some(if is_unit(text) { Self::Quadlet } else { Self::Sysctl }),
            _ if is_unit(text) => Some(Self::Quadlet),
            _ => yaml(text).or_else(|| is_sysctl(text).then_some(Self::Sysctl)),
        }
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The settings of a file of this kind.
pub fn read(kind: FileKind, bytes: impl AsRef<[u8]>) -> Settings {
    let bytes = bytes.as_ref();
    let read: fn(&str) -> Settings = match kind {
        FileKind::Sysctl => return Conf::parse(bytes).into(),
        FileKind::Kubernetes => kubernetes::read,
        FileKind::Compose => compose::read,
        FileKind::Quadlet => quadlet::read,
    };
    match str::from_utf8(bytes) {
        Ok(text) => match text.strip_prefix(BYTE_ORDER_MARK) {
            // It would be part of the first line.
            Some(_) if kind == FileKind::Quadlet => {
                Settings { errors: vec![LineError::byte_order_mark()], ..Settings::default() }
            }
            Some(text) => read(text),
            None => read(text),
        },
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
            let error = LineError::new(line, "this line is not UTF-8").help("write the file in UTF-8");
            Settings { errors: vec![error], ..Settings::default() }
        }
    }
}

/// The lines that are neither blank nor comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']))
}

/// Whether a text begins with the header of a section.
fn is_unit(text: &str) -> bool {
    code(text).next().is_some_and(|line| line.trim().starts_with('[') && line.trim().ends_with(']'))
}

fn is_sysctl(text: &str) -> bool {
    code(text).next().is_some_and(|line| line.contains('=') || line.starts_with('-'))
}

/// The kind of a text in YAML or JSON, by the keys of its documents.
fn yaml(text: &str) -> Option<FileKind> {
    let Ok(documents) = documents(text) else { return yaml_with_errors(text) };
    let has_key = |key: &str| documents.iter().any(|document| document.get(key).is_some());
    kind_with_keys(has_key)
}

/// The same for a text with errors, such as a template: reading it reports them.
fn yaml_with_errors(text: &str) -> Option<FileKind> {
    let is_key =
        |line: &str, key: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'));
    kind_with_keys(|key| text.lines().any(|line| is_key(line, key)))
}

fn kind_with_keys(has_key: impl Fn(&str) -> bool) -> Option<FileKind> {
    if has_key("apiVersion") || has_key("kind") {
        Some(FileKind::Kubernetes)
    } else if has_key("services") {
        Some(FileKind::Compose)
    } else {
        None
    }
}

/// Whether YAML that does not say what it is may be read as a manifest: if that finds something, or if there is nothing.
fn may_be_kubernetes(text: &str) -> bool {
    documents(text).map_or(true, |documents| documents.is_empty())
        || kubernetes::read(text) != Settings::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_content_tell_the_kind() {
        use FileKind::{Compose, Kubernetes, Quadlet, Sysctl};
        for (name, text, kind) in [
            ("/etc/sysctl.d/x.conf", "", Some(Sysctl)),
            ("web.container.d/10.conf", "# x\n[Container]\nSysctl=a.b=1\n", Some(Quadlet)),
            ("web.container", "", Some(Quadlet)),
            ("compose.yaml", "name: web\nservices:\n  web:\n", Some(Compose)),
            ("x.yml", "apiVersion: v1\nkind: Pod\n", Some(Kubernetes)),
            ("x.yml", "kind: Pod\nservices: x\n", Some(Kubernetes)),
            ("x.json", "{\"services\": {}}", Some(Compose)),
            // Keys of something else do not count.
            ("x.json", "{\"services\": {\"web\": {\"labels\": {\"kind\": \"x\"}}}}", Some(Compose)),
            ("x.yaml", "\"services\":\n  web: {}\n", Some(Compose)),
            ("x.yaml", "\u{feff}services:\n  web: {}\n", Some(Compose)),
            ("x.yaml", "{services: {web: {}}}\n", Some(Compose)),
            ("x.yaml", "x: &x {services: {}}\n<<: *x\n", Some(Compose)),
            ("x.yaml", "x: \"\n  services: {}\"\n", None),
            ("x.conf", "\u{feff}[Container]\n", Some(Quadlet)),
            // These do not say what they are.
            ("x.yaml", "- a\n", None),
            ("x.yaml", "web:\n  sysctls: [a.b=1]\n", None),
            ("x.yaml", "web:\n  securityContext:\n    sysctls: []\n", None),
            (
                "values.yaml",
                "web:\n  securityContext:\n    sysctls: [{name: a.b, value: '1'}]\n",
                Some(Kubernetes),
            ),
            ("x.yaml", "# nothing\n---\n", Some(Kubernetes)),
            ("x.yaml", "a: {{ .x }}\n b: [\n", Some(Kubernetes)),
            ("-", "kind: Pod\na: {{ .x }}\n b: [\n", Some(Kubernetes)),
            ("-", "; x\nvm.swappiness = 1\n", Some(Sysctl)),
            ("-", "-net.ipv4.conf.lo.rp_filter\n", Some(Sysctl)),
            ("-", "---\napiVersion: v1\n", Some(Kubernetes)),
            ("-", "services:\n", Some(Compose)),
            ("-", "[Container]\n", Some(Quadlet)),
            ("-", "", None),
            ("notes.txt", "hello\n", None),
        ] {
            assert_eq!(FileKind::detect(name, text), kind, "{name} {text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_hides_nothing() {
        for (kind, text, settings) in [
            (FileKind::Compose, "services: {web: {sysctls: [a.b=1]}}", 1),
            (FileKind::Kubernetes, "securityContext: {sysctls: [{name: a.b, value: '1'}]}", 1),
            (FileKind::Quadlet, "[Container]\nSysctl=a.b=1\n", 0),
            (FileKind::Sysctl, "a.b = 1\n", 0),
        ] {
            let read = read(kind, format!("\u{feff}{text}"));
            assert_eq!((read.settings.len(), read.errors.len()), (settings, 1 - settings), "{kind:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf8_is_an_error_with_its_line() {
        for kind in [FileKind::Sysctl, FileKind::Kubernetes, FileKind::Compose, FileKind::Quadlet] {
            let errors = read(kind, b"# a\n# \xff\n").errors;
            assert_eq!(
                (errors[0].line, errors[0].message.as_str()),
                (2, "this line is not UTF-8"),
                "{kind:?}"
            );
        }
    }
}
