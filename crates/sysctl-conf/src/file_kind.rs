//! Which kind of file a text is, and its settings.

use std::path::Path;

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
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        match extension {
            Some("container") => Some(Self::Quadlet),
            Some("yaml" | "yml" | "json") => Some(yaml(text).unwrap_or(Self::Kubernetes)),
            Some("conf") => Some(if is_unit(text) { Self::Quadlet } else { Self::Sysctl }),
            _ if is_unit(text) => Some(Self::Quadlet),
            _ => yaml(text).or_else(|| is_sysctl(text).then_some(Self::Sysctl)),
        }
    }
}

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
        Ok(text) => read(text),
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

/// The kind of a text in YAML or JSON, by its keys.
fn yaml(text: &str) -> Option<FileKind> {
    let has_key = |key: &str| {
        let is_json = text.trim_start().starts_with('{');
        (is_json && text.contains(&format!("\"{key}\"")))
            || text
                .lines()
                .any(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')))
    };
    if has_key("apiVersion") || has_key("kind") {
        Some(FileKind::Kubernetes)
    } else if has_key("services") {
        Some(FileKind::Compose)
    } else {
        None
    }
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
            ("x.yaml", "- a\n", Some(Kubernetes)),
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
