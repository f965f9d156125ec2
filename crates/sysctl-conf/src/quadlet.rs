//! Quadlet units: `Sysctl=` in `[Container]`, and `--sysctl` in `PodmanArgs=`, which `[Pod]` has, too (podman-systemd.unit(5)).
//!
//! The lines of a unit are those of systemd.syntax(7): `#` and `;` begin comments, a `\` at the end of a line continues it,
//! and an empty assignment drops those before it. Words are split as Quadlet does (`LookupAllStrv`, podman's
//! pkg/systemd/parser): at white space, with quotes and with escapes like those of C (`extract_first_word`, systemd's
//! src/basic/extract-word.c, with its flags for unquoting, unescaping and relaxed errors). Specifiers such as `%i` stay as
//! they are.

use crate::Settings;

pub(crate) fn read(text: &str) -> Settings {
    let mut settings = Settings::default();
    // All of them are arguments of one command.
    let mut podman_args: Vec<(usize, String)> = Vec::new();
    let (mut in_container, mut in_pod) = (false, false);
    for line in logical_lines(text) {
        let code = line.text.trim();
        if code.starts_with('[') {
            (in_container, in_pod) = (code == "[Container]", code == "[Pod]");
            continue;
        }
        let Some((key, value)) = line.text.split_once('=') else { continue };
        let value_start = line.text.len() - value.len();
        let words = words(value).into_iter().map(|(at, word)| (line.number(value_start + at), word));
        match key.trim() {
            "Sysctl" if in_container => {
                if value.trim().is_empty() {
                    settings.settings.clear();
                }
                words.for_each(|(number, word)| settings.assign(number, &word));
            }
            "PodmanArgs" if in_container || in_pod => {
                if value.trim().is_empty() {
                    podman_args.clear();
                }
                podman_args.extend(words);
            }
            _ => {}
        }
    }
    let mut podman_args = podman_args.into_iter();
    while let Some((number, word)) = podman_args.next() {
        if word == "--sysctl" {
            podman_args.next().into_iter().for_each(|(number, word)| settings.assign(number, &word));
        } else if let Some(assignment) = word.strip_prefix("--sysctl=") {
            settings.assign(number, assignment);
        }
    }
    settings.settings.sort_by_key(|setting| setting.line);
    settings
}

/// A line with those that continue it, and no comments.
struct LogicalLine {
    text: String,
    /// Where each of its lines begins in the text, with its number.
    starts: Vec<(usize, usize)>,
}

impl LogicalLine {
    /// The number of the line in which the byte `at` is.
    fn number(&self, at: usize) -> usize {
        let after = self.starts.partition_point(|(start, _)| *start <= at);
        self.starts[after.saturating_sub(1)].1
    }
}

fn logical_lines(text: &str) -> impl Iterator<Item = LogicalLine> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with(['#', ';']));
    std::iter::from_fn(move || {
        let mut logical = LogicalLine { text: String::new(), starts: Vec::new() };
        loop {
            let Some((index, line)) = lines.next() else {
                return (!logical.starts.is_empty()).then_some(logical);
            };
            logical.starts.push((logical.text.len(), index + 1));
            match line.strip_suffix('\\') {
                Some(line) => {
                    logical.text.push_str(line);
                    logical.text.push(' ');
                }
                None => {
                    logical.text.push_str(line);
                    return Some(logical);
                }
            }
        }
    })
}

/// The words of a value, each with its place.
fn words(value: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut quote = None;
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let (_, text) = word.get_or_insert_with(|| (at, String::new()));
        match c {
            '"' | '\'' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            '\\' => {
                let (unescaped, length) = unescape(chars.as_str());
                text.push_str(&unescaped);
                (0..length).for_each(|_| {
                    chars.next();
                });
            }
            c => text.push(c),
        }
    }
    words.extend(word);
    words
}

/// What a `\\` before `rest` stands for, and how many characters of `rest` belong to it. An unknown escape stays as it is.
fn unescape(rest: &str) -> (String, usize) {
    let number = |digits: usize, base: u32, skipped: usize| {
        let digits = rest.get(skipped..skipped + digits)?;
        let number = u32::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))?;
        char::from_u32(number).filter(|c| *c != '\0').map(|c| (c.to_string(), skipped + digits.len()))
    };
    let plain = |text: &str| Some((text.to_owned(), 1));
    let unescaped = match rest.chars().next() {
        Some('a') => plain("\x07"),
        Some('b') => plain("\x08"),
        Some('f') => plain("\x0c"),
        Some('n') => plain("\n"),
        Some('r') => plain("\r"),
        Some('t') => plain("\t"),
        Some('v') => plain("\x0b"),
        Some('s') => plain(" "),
        Some(c @ ('\\' | '"' | '\'')) => plain(c.encode_utf8(&mut [0; 4])),
        Some('x') => number(2, 16, 1),
        Some('u') => number(4, 16, 1),
        Some('U') => number(8, 16, 1),
        Some('0'..='7') => number(3, 8, 0),
        _ => None,
    };
    unescaped.unwrap_or_else(|| ("\\".to_owned(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let settings = read(text);
        assert_eq!(settings.errors, []);
        settings.settings.into_iter().map(|one| (one.line, one.key.to_string(), one.value)).collect()
    }

    #[test]
    fn settings_of_the_container_are_read() {
        let text = "\
[Unit]
Sysctl=not.here=1
[Container]
# Sysctl=a.b=1
Sysctl=net.core.somaxconn=1024 \"net.ipv4.tcp_rmem=4096 1 2\" \\
; a comment in between
  'kernel.core_pattern=a b'
 Sysctl = vm.swappiness=\\x31\\060
[Service]
Sysctl=not.here=2
";
        let expected = [
            (5, "net.core.somaxconn", "1024"),
            (5, "net.ipv4.tcp_rmem", "4096 1 2"),
            (7, "kernel.core_pattern", "a b"),
            (8, "vm.swappiness", "10"),
        ];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(found(text), expected);
    }

    #[test]
    fn arguments_of_podman_are_read() {
        let text = "\
[Container]
PodmanArgs=--sysctl dropped=1
PodmanArgs=
PodmanArgs=--sysctl=a.b=1 --cpus 2 --sysctl 'c.d=1 2' \\
  --sysctl
Sysctl=e.f=3
PodmanArgs=g.h=4
[Pod]
Sysctl=not.here=1
PodmanArgs=--sysctl i.j=5
[Service]
PodmanArgs=--sysctl not.here=1
";
        let expected =
            [(4, "a.b", "1"), (4, "c.d", "1 2"), (6, "e.f", "3"), (7, "g.h", "4"), (10, "i.j", "5")];
        assert_eq!(found(text), expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned())));
    }

    #[test]
    fn an_empty_assignment_drops_those_before_it() {
        let text = "[Container]\nSysctl=a.b=1\nSysctl=\nSysctl=c.d=2\n";
        assert_eq!(found(text), [(4, "c.d".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn words_are_split_as_systemd_splits_them() {
        for (value, expected) in [
            ("a=1  b=2", &["a=1", "b=2"][..]),
            ("a='1 2'x", &["a=1 2x"]),
            ("\"a=1\"\"2\" ''", &["a=12", ""]),
            (r"a=\t\s\\\q", &["a=\t \\\\q"]),
            (r"'a=1\'2'", &["a=1'2"]),
            ("'a=1 2", &["a=1 2"]),
            (r"a=\u00e9\x4", &["a=é\\x4"]),
            ("a=1\\", &["a=1\\"]),
        ] {
            let words: Vec<String> = words(value).into_iter().map(|(_, word)| word).collect();
            assert_eq!(words, expected, "{value}");
        }
    }

    #[test]
    fn a_word_without_a_value_is_an_error() {
        let settings = read("[Container]\nSysctl=a.b=1 \\\n  c.d\n");
        assert_eq!((settings.errors[0].line, settings.errors[0].message.as_str()), (3, "`c.d` has no `=`"));
    }
}
