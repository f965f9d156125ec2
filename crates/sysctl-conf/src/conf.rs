//! The lines of a sysctl.d(5) file.
//!
//! systemd-sysctl (`parse_file`, systemd's src/sysctl/sysctl.c) and sysctl(8) (procps-ng's src/sysctl.c) agree on them:
//! a line is blank, a comment that begins with `#` or `;`, or a setting `key = value`. White space around the key and the
//! value does not count; all else belongs to the value, even a `#`. A `-` before the key of a setting means that errors
//! are ignored, and `-key` without a value keeps globs away from the key. Where they differ, a line is an error here:
//! systemd ends a line at a carriage return or a NUL, too.

use crate::{Key, LineError, Setting, Settings};

/// A sysctl.d file, line by line.
///
/// ```
/// use knobgate_sysctl_conf::{Conf, ConfLine};
///
/// let conf = Conf::parse(b"; comment\n-net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.lo.rp_filter\noops\n");
/// assert_eq!(conf.lines()[0].1, ConfLine::Comment(" comment".to_owned()));
/// assert!(matches!(&conf.lines()[1].1, ConfLine::Setting { ignores_errors: true, .. }));
/// assert!(matches!(&conf.lines()[2].1, ConfLine::Exclusion(_)));
/// assert_eq!(conf.errors()[0].line, 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conf {
    lines: Vec<(usize, ConfLine)>,
    errors: Vec<LineError>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfLine {
    /// Nothing but white space.
    Blank,
    /// A comment, without its `#` or `;` and without white space at its end.
    Comment(String),
    /// `key = value`, or `-key = value`.
    Setting {
        /// The knobs.
        key: Key,
        /// The value, without white space at its ends.
        value: String,
        /// Whether it begins with `-`: that the value cannot be written is no error.
        ignores_errors: bool,
    },
    /// `-key`: no glob sets these knobs. systemd takes it as the name of one knob, procps as a glob, too.
    Exclusion(Key),
}

/// What systemd strips from lines, keys and values (`WHITESPACE`, systemd's src/fundamental/string-util-fundamental.h).
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

impl Conf {
    /// Parses a file. Lines that are wrong are left out, and are in [`errors`](Self::errors).
    pub fn parse(bytes: &[u8]) -> Self {
        let mut conf = Self::default();
        for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            match line(number, bytes) {
                Ok(line) => conf.lines.push((number, line)),
                Err(error) if conf.errors.len() < LineError::ERRORS_MAX => conf.errors.push(error),
                Err(_) => {}
            }
        }
        conf
    }

    /// The lines that could be read, with their numbers, which count from 1.
    pub fn lines(&self) -> &[(usize, ConfLine)] {
        &self.lines
    }

    /// The lines that could not, at most [`ERRORS_MAX`](LineError::ERRORS_MAX).
    pub fn errors(&self) -> &[LineError] {
        &self.errors
    }
}

impl From<Conf> for Settings {
    fn from(conf: Conf) -> Self {
        let mut settings = Self { errors: conf.errors, ..Self::default() };
        for (line, content) in conf.lines {
            match content {
                ConfLine::Setting { key, value, .. } => settings.settings.push(Setting { line, key, value }),
                ConfLine::Exclusion(key) => settings.exclusions.push(key),
                ConfLine::Blank | ConfLine::Comment(_) => {}
            }
        }
        settings
    }
}

fn line(number: usize, bytes: &[u8]) -> Result<ConfLine, LineError> {
    let error = |message: String| LineError::new(number, message);
    let Ok(text) = str::from_utf8(bytes) else {
        return Err(error("this line is not UTF-8".to_owned()).help("write the file in UTF-8"));
    };
    if number == 1 && text.starts_with('\u{feff}') {
        return Err(LineError::byte_order_mark());
    }
    let text = text.trim_matches(WHITE_SPACE);
    let Some(first) = text.chars().next() else { return Ok(ConfLine::Blank) };
    if let Some(c) = text.chars().find(|c| matches!(c, '\r' | '\0')) {
        let name = if c == '\0' { "a NUL" } else { "a carriage return" };
        return Err(error(format!("there is {name} inside of this line")).help("remove it"));
    }
    if matches!(first, '#' | ';') {
        return Ok(ConfLine::Comment(text[1..].to_owned()));
    }
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.trim_matches(WHITE_SPACE))),
        None => (text, None),
    };
    let without_dash = key.strip_prefix('-');
    if value.is_none() && without_dash.is_none() {
        return Err(neither(number, text));
    }
    let notation = without_dash.unwrap_or(key).trim_matches(WHITE_SPACE);
    let key = Key::parse(notation).map_err(|error| LineError::key(number, notation, &error))?;
    Ok(match value {
        Some(value) => {
            ConfLine::Setting { key, value: value.to_owned(), ignores_errors: without_dash.is_some() }
        }
        None => ConfLine::Exclusion(key),
    })
}

/// A line that is no setting, no exclusion and no comment.
fn neither(number: usize, text: &str) -> LineError {
    let error = LineError::new(number, format!("`{text}` is neither a setting nor a comment"));
    match text.split_once(WHITE_SPACE) {
        Some((key, value)) if Key::parse(key).is_ok() && key.contains(['.', '/']) => {
            let (key, value) = (key.trim_end_matches(':'), value.trim_matches(WHITE_SPACE));
            error.help(format!("write `{key} = {value}`"))
        }
        _ => error.help("write `key = value`, `-key` to exclude a key from globs, or `#` before a comment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, value: &str, ignores_errors: bool) -> ConfLine {
        ConfLine::Setting { key: Key::parse(key).unwrap(), value: value.to_owned(), ignores_errors }
    }

    #[test]
    fn lines_are_read_as_systemd_and_procps_read_them() {
        for (text, expected) in [
            ("", ConfLine::Blank),
            (" \t\r", ConfLine::Blank),
            ("# a", ConfLine::Comment(" a".to_owned())),
            ("  ;b = 1", ConfLine::Comment("b = 1".to_owned())),
            ("vm.swappiness=10", setting("vm.swappiness", "10", false)),
            ("\tvm/swappiness  =\t10 \r", setting("vm.swappiness", "10", false)),
            ("-vm.swappiness = 10", setting("vm.swappiness", "10", true)),
            ("- vm.swappiness = 10", setting("vm.swappiness", "10", true)),
            (
                "kernel.core_pattern = |/bin/x a=b # c",
                setting("kernel.core_pattern", "|/bin/x a=b # c", false),
            ),
            (
                "net.ipv4.tcp_rmem = 4096\t131072  6291456",
                setting("net.ipv4.tcp_rmem", "4096\t131072  6291456", false),
            ),
            ("kernel.modprobe =", setting("kernel.modprobe", "", false)),
            ("net.ipv4.conf.*.rp_filter=1", setting("net.ipv4.conf.*.rp_filter", "1", false)),
            (
                "-net.ipv4.conf.lo.rp_filter",
                ConfLine::Exclusion(Key::parse("net.ipv4.conf.lo.rp_filter").unwrap()),
            ),
        ] {
            assert_eq!(line(2, text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_is_wrong_says_what_to_do() {
        for (text, message, help) in [
            (
                &b"vm.swappiness 10"[..],
                "`vm.swappiness 10` is neither a setting nor a comment",
                "write `vm.swappiness = 10`",
            ),
            (
                b"vm.swappiness:  10",
                "`vm.swappiness:  10` is neither a setting nor a comment",
                "write `vm.swappiness = 10`",
            ),
            (
                b"swappiness",
                "`swappiness` is neither a setting nor a comment",
                "write `key = value`, `-key` to exclude a key from globs, or `#` before a comment",
            ),
            (b"a.b\xff = 1", "this line is not UTF-8", "write the file in UTF-8"),
            (b"a.b = 1\r2", "there is a carriage return inside of this line", "remove it"),
            (b"# a\0b", "there is a NUL inside of this line", "remove it"),
            (b"= 1", "`` names no knob: the name is empty", ""),
            (
                b"/proc/sys/vm/swappiness = 1",
                "`/proc/sys/vm/swappiness` names no knob: names are relative to `/proc/sys`",
                "drop `/proc/sys/`",
            ),
            (
                b"export vm.swappiness = 1",
                "`export vm.swappiness` names no knob: it contains a blank or a control character",
                "a setting is `key = value`",
            ),
        ] {
            let error = line(1, text).unwrap_err();
            assert_eq!((error.message.as_str(), error.help.as_deref().unwrap_or_default()), (message, help));
        }
        let error = line(1, "\u{feff}vm.swappiness = 1".as_bytes()).unwrap_err();
        assert_eq!(error.message, "the file begins with a byte order mark");
    }

    #[test]
    fn only_some_errors_of_a_file_are_kept() {
        let conf = Conf::parse("oops\n".repeat(LineError::ERRORS_MAX + 10).as_bytes());
        assert_eq!(conf.errors().len(), LineError::ERRORS_MAX);
    }
}
