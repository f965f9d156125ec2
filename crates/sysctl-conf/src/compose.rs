//! Compose files: `sysctls` of services, as a mapping or as a list of `name=value` (compose-spec, 05-services.md).
//!
//! Merge keys (`<<`) are followed; `extends` and `include` are not, since they name other files. What is written without quotes may be
//! a number, of which compose writes the digits (`resolve`, go-yaml's resolve.go; `Mapping`, compose-go's types/mapping.go).

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

use crate::yaml::{Node, Value, documents};
use crate::{LineError, Settings};

/// How many entries of mappings are looked at. Mappings that many services merge have more than are in the file.
const ENTRIES_MAX: usize = 1 << 22;

pub(crate) fn read(text: &str) -> Settings {
    let documents = match documents(text) {
        Ok(documents) => documents,
        Err(error) => return Settings { errors: vec![error], ..Settings::default() },
    };
    let mut reader = Reader::default();
    for (_, service) in
        documents.iter().filter_map(|document| document.get("services")).flat_map(|one| one.entries())
    {
        if let Some(sysctls) = service.get("sysctls").filter(|one| reader.lists.insert(Rc::as_ptr(one))) {
            reader.sysctls(sysctls);
        }
    }
    reader.settings
}

/// Reads sysctls, and what several services share once.
#[derive(Default)]
struct Reader {
    lists: HashSet<*const Node>,
    /// Keys with their values.
    read: HashSet<(*const Node, *const Node)>,
    /// How many entries were looked at.
    entries: usize,
    settings: Settings,
}

impl Reader {
    fn sysctls(&mut self, sysctls: &Node) {
        let settings = &mut self.settings;
        match &sysctls.value {
            Value::Mapping(_) => {
                let mut seen = HashSet::new();
                for (key, value) in sysctls.entries() {
                    self.entries += 1;
                    if self.entries > ENTRIES_MAX {
                        let message = format!("more than {ENTRIES_MAX} settings are merged into services");
                        return settings.error(LineError::new(sysctls.line, message));
                    }
                    let Some(name) = key.scalar().filter(|name| seen.insert(*name)) else { continue };
                    if !self.read.insert((Rc::as_ptr(key), Rc::as_ptr(value))) {
                        continue;
                    }
                    match resolved(value) {
                        Ok(value) => set(key.line, name, &value, settings),
                        Err(why) => {
                            let error = LineError::new(key.line, format!("`{name}` {why}"));
                            settings.error(error.help("write `name: \"value\"`"));
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
            Value::Scalar { .. } => {
                let error = LineError::new(sysctls.line, "`sysctls` is neither a mapping nor a list");
                settings.error(error.help("write `- name=value`"));
            }
        }
    }
}

/// The text that compose makes of a value.
///
/// # Errors
/// Why it is none, or which one is not certain.
fn resolved(value: &Node) -> Result<Cow<'_, str>, String> {
    let (text, is_plain) = match &value.value {
        Value::Scalar { text, is_plain } => (text.as_str(), *is_plain),
        _ => return Err("has no value".to_owned()),
    };
    if !is_plain || !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(text.into());
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return Ok(number.to_string().into());
    }
    match plain.parse::<f64>() {
        Ok(number) if number.to_string() != text => {
            Err(format!("has the number {text}, which compose writes in another way"))
        }
        _ => Ok(text.into()),
    }
}

/// An integer as go-yaml reads it: with a prefix for its base, and with at most 64 bits.
fn integer(plain: &str) -> Option<i128> {
    let (sign, digits) = match plain.strip_prefix(['+', '-']) {
        Some(digits) => (if plain.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, plain),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = match lower.split_at_checked(2) {
        Some(("0x", digits)) => (digits, 16),
        Some(("0b", digits)) => (digits, 2),
        Some(("0o", digits)) => (digits, 8),
        _ => match lower.strip_prefix('0').filter(|digits| !digits.is_empty()) {
            Some(digits) => (digits, 8),
            None => (lower.as_str(), 10),
        },
    };
    let number = u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    let number = sign * i128::from(number);
    (number >= i128::from(i64::MIN)).then_some(number)
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
    fn numbers_without_quotes_are_written_in_digits() {
        for (written, expected) in [
            ("1_000", "1000"),
            ("0x10", "16"),
            ("017", "15"),
            ("-0b11", "-3"),
            ("+5", "5"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.5", "1.5"),
            ("\"1_000\"", "1_000"),
            ("'0x10'", "0x10"),
            ("4096 1 2", "4096 1 2"),
            ("0xyz", "0xyz"),
            ("1-2", "1-2"),
            ("a_b", "a_b"),
        ] {
            let text = format!("services:\n  web:\n    sysctls:\n      a.b: {written}\n");
            assert_eq!(found(&text), self::expected(&[(4, "a.b", expected)]), "{written}");
        }
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
  four: {<<: *base}
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
            ("{a.b: 1e3}", "`a.b` has the number 1e3, which compose writes in another way"),
            ("{a.b: 08}", "`a.b` has the number 08, which compose writes in another way"),
            ("{a.b: \"${B:-1}\"}", "compose fills in a part of `a.b=${B:-1}`"),
            ("[a.b=$B]", "compose fills in a part of `a.b=$B`"),
        ] {
            let settings = read(&format!("services:\n  web:\n    sysctls: {sysctls}\n"));
            let errors: Vec<_> = settings.errors.iter().map(|one| (one.line, one.message.as_str())).collect();
            assert_eq!(errors, [(3, message)]);
        }
    }
}
