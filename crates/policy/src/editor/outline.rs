//! The statements of a text.

use crate::parser::{self, Parsed};
use crate::syntax::Included;
use crate::{Source, Span};

/// The statements of a text that people look for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outline {
    /// By position. Those with errors in their syntax are left out.
    pub items: Vec<OutlineItem>,
    /// Whether the text is for policies to include: it has no header, and states nothing else that only a policy states.
    pub is_for_inclusion: bool,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlineItem {
    /// What it is.
    pub kind: OutlineKind,
    /// The name of the policy, test, file or preset; the text of a rule.
    pub name: String,
    /// All of it.
    pub span: Span,
    /// The part with the name.
    pub name_span: Span,
}

/// What a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutlineKind {
    /// `policy NAME`
    Policy,
    /// A rule.
    Rule,
    /// `test "…" { … }`
    Test,
    /// `include "FILE"`
    IncludedFile,
    /// `include preset "NAME@VERSION"`
    IncludedPreset,
}

/// The statements of `source`, without those that it includes.
pub fn outline(source: &Source) -> Outline {
    let parsed = parser::parse_either(source.text());
    let is_for_inclusion = !states_policy(&parsed);
    let Parsed { header, rules, tests, includes, .. } = parsed;
    let mut items = Vec::new();
    if let Some(header) = header {
        let name = header.node.name().to_owned();
        let name_span = Span::new(header.span.end - name.len(), header.span.end);
        items.push(OutlineItem { kind: OutlineKind::Policy, name, span: header.span, name_span });
    }
    items.extend(rules.into_iter().map(|rule| OutlineItem {
        kind: OutlineKind::Rule,
        name: source.slice(rule.span).to_owned(),
        span: rule.span,
        name_span: rule.span,
    }));
    items.extend(tests.into_iter().map(|test| OutlineItem {
        kind: OutlineKind::Test,
        name: test.name.node,
        span: test.steps.last().map_or(test.header, |last| test.header.to(last.span)),
        name_span: test.name.span,
    }));
    items.extend(includes.into_iter().map(|include| {
        let (kind, name) = match include.what {
            Included::File(name) => (OutlineKind::IncludedFile, name),
            Included::Preset(name) => (OutlineKind::IncludedPreset, name),
        };
        OutlineItem { kind, name, span: include.span, name_span: include.name }
    }));
    items.sort_by_key(|item| item.span.start);
    Outline { items, is_for_inclusion }
}

/// Whether there is something that an included text does not state.
fn states_policy(parsed: &Parsed) -> bool {
    parsed.header.is_some()
        || parsed.mode.is_some()
        || parsed.default_read.is_some()
        || parsed.default_write.is_some()
        || !parsed.width_64.is_empty()
        || !parsed.apply_if.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_for_policies_to_include_states_rules_tests_and_includes_alone() {
        let is_for_inclusion = |text: &str| outline(&Source::new("x", text)).is_for_inclusion;
        for text in ["", "# x\n", "allow read a\n", "include \"a.knob\"\nnonsense\n", "test \"t\" {\n}\n"] {
            assert!(is_for_inclusion(text), "{text}");
        }
        for text in
            ["policy x\n", "mode audit\n", "default read deny\n", "width 64 a\n", "apply if pod == \"a\"\n"]
        {
            assert!(!is_for_inclusion(text), "{text}");
        }
    }

    #[test]
    fn statements_are_found_among_errors() {
        let text = "policy web\ninclude \"a.knob\"\nallow read a b\ninclude preset \"node-bounds@1\"\nallow read a,\n  b\n\
                    test \"t\" {\n  read a => allow\n}\n";
        let source = Source::new("x", text);
        let shown: Vec<String> = outline(&source)
            .items
            .iter()
            .map(|item| format!("{:?} {:?} {:?}", item.kind, item.name, source.slice(item.name_span)))
            .collect();
        assert_eq!(
            shown,
            [
                r#"Policy "web" "web""#,
                r#"IncludedFile "a.knob" "\"a.knob\"""#,
                r#"IncludedPreset "node-bounds@1" "\"node-bounds@1\"""#,
                r#"Rule "allow read a,\n  b" "allow read a,\n  b""#,
                r#"Test "t" "\"t\"""#,
            ]
        );
    }
}
