//! The names of knobs, component by component.

use std::collections::BTreeMap;

use knobgate_catalogue::{self as catalogue, PLACEHOLDERS};
use knobgate_policy::{KnobName, KnobPattern};

/// A component that may come next in a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Component {
    /// The component itself, as it is shown.
    pub(crate) label: String,
    /// The whole name so far, up to this component.
    pub(crate) text: String,
    /// Whether more components follow.
    pub(crate) is_directory: bool,
    /// What it is.
    pub(crate) summary: Option<String>,
}

/// The components that may come at the end of `begun`, the beginning of a name or, if `is_pattern`, of a pattern. They are those of
/// the catalogue and of `knobs`. None come after `**`, or inside braces and brackets.
pub(crate) fn next(begun: &str, is_pattern: bool, knobs: &[KnobName]) -> Vec<Component> {
    let Some(directory) = Directory::of(begun) else { return Vec::new() };
    let mut found: BTreeMap<String, Component> = BTreeMap::new();
    let mut add = |component: &[u8], is_directory: bool, summary: Option<String>| {
        let Some(written) = directory.written(component) else { return };
        let new = || Component {
            label: written.clone(),
            text: format!("{}{written}", directory.text),
            is_directory,
            summary: None,
        };
        let known = found.entry(written.clone()).or_insert_with(new);
        known.is_directory |= is_directory;
        known.summary = known.summary.take().or(summary);
    };
    for knob in catalogue::all() {
        let Some((component, is_directory)) = directory.child(knob.pattern().as_bytes()) else { continue };
        let placeholder = PLACEHOLDERS.iter().find(|(name, _)| name.as_bytes() == component);
        match placeholder {
            Some((_, meaning)) if is_pattern => add(b"*", is_directory, Some((*meaning).to_owned())),
            Some(_) => {}
            None => add(component, is_directory, (!is_directory).then(|| knob.summary().to_owned())),
        }
    }
    for knob in knobs {
        let Some((component, is_directory)) = directory.child(knob.as_bytes()) else { continue };
        let known = || catalogue::find(knob.as_bytes()).map(|known| known.summary().to_owned());
        let summary = if is_directory { None } else { known() };
        add(component, is_directory, summary);
    }
    found.into_values().collect()
}

/// What is written of a name before its last component.
struct Directory<'a> {
    /// With the separator at its end.
    text: &'a str,
    separator: char,
    components: Vec<KnobPattern>,
}

impl<'a> Directory<'a> {
    fn of(begun: &'a str) -> Option<Self> {
        let mut ends = Vec::new();
        let (mut separator, mut open, mut escaped) = (None, 0usize, false);
        for (at, c) in begun.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '{' | '[' => open += 1,
                '}' | ']' => open = open.saturating_sub(1),
                '.' | '/' if open == 0 && *separator.get_or_insert(c) == c => ends.push(at),
                _ => {}
            }
        }
        if open > 0 || escaped {
            return None;
        }
        let separator = separator.unwrap_or('.');
        let mut components = Vec::new();
        let mut start = 0;
        for &end in &ends {
            let component = &begun[start..end];
            if component.is_empty() || component.contains("**") {
                return None;
            }
            components.push(pattern(component, separator)?);
            start = end + 1;
        }
        Some(Self { text: &begun[..start], separator, components })
    }

    /// The component of `name` that follows this directory, and whether more follow; `None` if the name is elsewhere.
    fn child<'n>(&self, name: &'n [u8]) -> Option<(&'n [u8], bool)> {
        let mut components = name.split(|&byte| byte == b'/');
        for pattern in &self.components {
            let component = components.next()?;
            let is_placeholder = component.starts_with(b"<");
            if !is_placeholder && !pattern.matches(&inside(component)) {
                return None;
            }
        }
        components.next().map(|component| (component, components.next().is_some()))
    }

    /// How `component` is written after this directory; `None` if it would need an escape. `*` stands for itself.
    fn written(&self, component: &[u8]) -> Option<String> {
        let text = str::from_utf8(component).ok()?;
        let written = if self.separator == '.' { text.replace('.', "/") } else { text.to_owned() };
        if text == "*" {
            return Some(written);
        }
        let parsed = pattern(&written, self.separator)?;
        (parsed.literal() == Some(&inside(component))).then_some(written)
    }
}

/// The pattern of one component, inside a directory: only there, the notation is known.
fn pattern(component: &str, separator: char) -> Option<KnobPattern> {
    KnobPattern::parse(format!("x{separator}{component}")).ok()
}

fn inside(component: &[u8]) -> Vec<u8> {
    [b"x/", component].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(begun: &str, is_pattern: bool) -> Vec<String> {
        let knobs = [
            &b"net/ipv4/conf/eno2.100/rp_filter"[..],
            b"net/ipv4/conf/all/rp_filter",
            b"net/ipv4/conf/a b/rp_filter",
            b"net/ipv4/conf/*x/rp_filter",
            b"net/vendor/limit",
            b"vendor",
        ];
        let knobs: Vec<KnobName> = knobs.iter().map(|&name| KnobName::from_path(name).unwrap()).collect();
        let components = next(begun, is_pattern, &knobs).into_iter();
        components
            .map(|component| format!("{}{}", component.text, if component.is_directory { "+" } else { "" }))
            .collect()
    }

    #[track_caller]
    fn has(begun: &str, expected: &[&str], absent: &[&str]) {
        let names = names(begun, true);
        for name in expected {
            assert!(names.iter().any(|found| found == name), "{begun}: no {name} in {names:?}");
        }
        for name in absent {
            assert!(!names.iter().any(|found| found.trim_end_matches('+') == *name), "{begun}: {names:?}");
        }
    }

    #[test]
    fn components_follow_in_the_notation_that_was_begun() {
        has("", &["net+", "kernel+", "vm+", "vendor"], &["net.ipv4"]);
        has("ne", &["net+"], &[]);
        has("net.", &["net.vendor+", "net.ipv4+", "net.core+"], &["net.ipv4.conf"]);
        has("net/ven", &["net/vendor+", "net/ipv4+"], &[]);
        has("net.vendor.", &["net.vendor.limit"], &["net.vendor.conf"]);
        has(
            "net.ipv4.conf.",
            &["net.ipv4.conf.*+", "net.ipv4.conf.all+", "net.ipv4.conf.eno2/100+"],
            &["net.ipv4.conf.a b"],
        );
        has("net/ipv4/conf/", &["net/ipv4/conf/eno2.100+"], &["net/ipv4/conf/*x", "net/ipv4/conf/a b"]);
        has("net.ipv4.conf.eno2/100.", &["net.ipv4.conf.eno2/100.rp_filter"], &[]);
        has("net/ipv4/conf/eth7/", &["net/ipv4/conf/eth7/rp_filter"], &[]);
        has("net.*.{conf,x}.a*.", &["net.*.{conf,x}.a*.rp_filter"], &[]);
    }

    #[test]
    fn nothing_follows_where_it_cannot_be_told() {
        for begun in ["net.**.", "net.{a,", "net.[", "net..", ".", "net.ipv4\\", "nonsense."] {
            assert_eq!(names(begun, true), [""; 0], "{begun}");
        }
    }

    #[test]
    fn names_have_no_stars() {
        assert!(names("net.ipv4.conf.", true).contains(&"net.ipv4.conf.*+".to_owned()));
        assert!(!names("net.ipv4.conf.", false).contains(&"net.ipv4.conf.*+".to_owned()));
    }
}
