//! `apply if`: the texts that fields are compared with, and tests that a workload can get around.

use super::Checker;
use crate::scheme::{RULES, SELECTORS};
use crate::selector::{self, Comparison, Invalid, PathGlob, Selector, SelectorField, is_always_chosen};
use crate::syntax::{ConditionSyntax, Member, SelectorSyntax, Spanned, Term, TextVerb};
use crate::{Diagnostic, NotationErrorKind, Relation, Span, Text, TextGlob};

/// What to do about a test that whoever starts a container can get around.
const NEGATED_HELP: &str = "select by what the workload does not choose, such as `namespace`, `unit` or `cgroup`; \
                            `knobgate explain --pid` says who chooses a field";

impl Checker {
    /// The selectors that are valid, with their places.
    pub(super) fn selectors(&mut self, written: &[SelectorSyntax]) -> (Vec<Selector>, Vec<Span>) {
        self.scheme = &SELECTORS;
        let checked =
            written.iter().filter_map(|selector| Some((self.selector(&selector.condition)?, selector.span)));
        let checked = checked.collect::<Vec<_>>();
        self.scheme = &RULES;
        checked.into_iter().unzip()
    }

    /// The selector, if it is valid; errors are reported.
    pub(crate) fn selector(&mut self, syntax: &Spanned<ConditionSyntax>) -> Option<Selector> {
        let condition = self.condition(syntax)?;
        let selector = condition.into_selector().and_then(|condition| Selector::new(condition).ok());
        if selector.is_none() {
            // The scheme of selectors has no such fields. If it had, a selector must not go missing.
            self.report(Diagnostic::error("unknown-operand", syntax.span, "a selector cannot look at this"));
        }
        self.warn_of_chosen(syntax, false);
        selector
    }

    /// The text that `field` is compared with.
    pub(super) fn selector_text(
        &mut self,
        field: &SelectorField,
        how: Comparison,
        text: &Spanned<Text>,
    ) -> Option<Text> {
        selector::checked(field, how, &text.node).map_err(|invalid| self.report_invalid(invalid, text)).ok()
    }

    /// Checks a glob that a field other than `cgroup` is matched with.
    pub(super) fn check_selector_glob(
        &mut self,
        field: &SelectorField,
        glob: &TextGlob,
        text: &Spanned<Text>,
    ) -> Option<()> {
        selector::check_glob(field, glob).map_err(|invalid| self.report_invalid(invalid, text)).ok()
    }

    fn report_invalid(&mut self, invalid: Invalid, text: &Spanned<Text>) {
        let span = text.span;
        let error = Diagnostic::invalid(&invalid.error, span);
        self.report(match invalid.fix {
            Some(fix) => error.help(format!("write {fix}")).suggest(span, fix.to_string()),
            None if text.node.as_bytes().contains(&b'*') => {
                error.help("a glob is tested with `matches`: `image matches \"docker.io/library/nginx:*\"`")
            }
            None => error,
        });
    }

    /// A glob for the path of a cgroup.
    pub(super) fn path_glob(&mut self, text: &Spanned<Text>) -> Option<PathGlob> {
        match PathGlob::parse(text.node.as_bytes()) {
            Ok(glob) => Some(glob),
            Err(error) => {
                let written = text.node.as_bytes();
                let message = error.kind.to_string();
                match error.kind {
                    NotationErrorKind::Relative if !written.is_empty() => {
                        let fix = Text::from([b"/", written].concat());
                        let error = Diagnostic::error("bad-path", text.span, message);
                        self.report(error.help(format!("write {fix}")).suggest(text.span, fix.to_string()));
                    }
                    NotationErrorKind::TrailingSeparator => {
                        let fix = Text::from([written, b"**"].concat());
                        let error =
                            Diagnostic::error("bad-path", text.span, "no path of a cgroup ends with `/`");
                        let help = format!("for all cgroups below it, write {fix}");
                        self.report(error.help(help).suggest(text.span, fix.to_string()));
                    }
                    NotationErrorKind::SeparatorInClass => {
                        self.report(Diagnostic::error("bad-glob", text.span, message));
                    }
                    kind => self.report_glob(kind, text),
                }
                None
            }
        }
    }

    /// Warns of tests that a workload can get around or into, below so many `not` that the condition is `negated`.
    fn warn_of_chosen(&mut self, condition: &Spanned<ConditionSyntax>, negated: bool) {
        match &condition.node {
            ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
                parts.iter().for_each(|part| self.warn_of_chosen(part, negated));
            }
            ConditionSyntax::Not(inner) => self.warn_of_chosen(inner, !negated),
            ConditionSyntax::Chain(first, links) => {
                let differs = links.iter().any(|(relation, _)| relation.node == Relation::NotEqual);
                let terms = std::iter::once(first).chain(links.iter().map(|(_, term)| term));
                let field = terms.clone().find_map(|term| field(&term.node));
                let text = terms.clone().find_map(text);
                self.warn_if_negated(field.as_ref(), condition.span, negated != differs);
                if let (Some(_), Some(text), Some((relation, _))) = (&field, text, links.first()) {
                    let is_left = first.span != text.span;
                    self.warn_of_glob(&text, |warning| match relation.node {
                        Relation::Equal if is_left => {
                            warning.help("a glob is tested with `matches`").suggest(relation.span, "matches")
                        }
                        _ => {
                            warning.help("a glob is tested with `matches`, as in `not pod matches \"web-*\"`")
                        }
                    });
                }
            }
            ConditionSyntax::InSet(subject, members) => {
                self.warn_if_negated(field(&subject.node).as_ref(), condition.span, negated);
                for member in &members.node {
                    let Member::Text(text) = &member.node else { continue };
                    let text = Spanned::new(text.clone(), member.span);
                    self.warn_of_glob(&text, |warning| warning.help("a glob is tested with `matches`"));
                }
            }
            ConditionSyntax::Text(subject, verb, text) => {
                let field = field(&subject.node);
                self.warn_if_negated(field.as_ref(), condition.span, negated);
                match field {
                    Some(SelectorField::Cgroup) => self.warn_of_any_depth(*verb, text),
                    Some(SelectorField::Image) => self.warn_of_owner(*verb, text),
                    _ => {}
                }
                if *verb != TextVerb::Matches {
                    self.warn_of_glob(text, |warning| match start_of_glob(&text.node) {
                        Some(start) if *verb == TextVerb::StartsWith => warning
                            .help(format!("a start needs no `*`: write {start}"))
                            .suggest(text.span, start.to_string()),
                        _ => warning.help("a glob is tested with `matches`"),
                    });
                }
            }
            ConditionSyntax::InRange(..)
            | ConditionSyntax::List(..)
            | ConditionSyntax::Word { .. }
            | ConditionSyntax::Knob { .. } => {}
        }
    }

    fn warn_if_negated(&mut self, field: Option<&SelectorField>, span: Span, negated: bool) {
        let Some(field) = field.filter(|field| negated && is_always_chosen(field)) else { return };
        let warning = Diagnostic::warning(
            "negated-chosen-field",
            span,
            format!("whoever starts a container chooses its `{}`", name(field)),
        );
        self.report(
            warning.label("a container can be called this to stay out of the policy").help(NEGATED_HELP),
        );
    }

    /// Warns of a cgroup that may be at any depth, where others than root name cgroups.
    fn warn_of_any_depth(&mut self, verb: TextVerb, text: &Spanned<Text>) {
        let at_any_depth = match verb {
            TextVerb::Matches => {
                PathGlob::parse(text.node.as_bytes()).is_ok_and(|glob| glob.is_at_any_depth())
            }
            TextVerb::Contains => true,
            TextVerb::StartsWith => false,
        };
        if at_any_depth {
            let message = "a workload can make a cgroup that this matches";
            let warning = Diagnostic::warning("selector-chosen-by-workload", text.span, message);
            self.report(warning.help(
                "whoever owns a cgroup names those below it: name the path from the root, \
                 as in `cgroup matches \"/system.slice/docker-*.scope\"`",
            ));
        }
    }

    /// Warns of the start of the name of an official image, without the `library/` that this has in full.
    fn warn_of_owner(&mut self, verb: TextVerb, text: &Spanned<Text>) {
        let rest = text.node.as_bytes().strip_prefix(b"docker.io/").unwrap_or_default();
        let start = match verb {
            TextVerb::StartsWith => rest,
            TextVerb::Matches => rest.split(|byte| b"*?[{\\".contains(byte)).next().unwrap_or_default(),
            TextVerb::Contains => return,
        };
        if start.is_empty() || rest.contains(&b'/') || b"library/".starts_with(start) {
            return;
        }
        let [official, owner] = [[b"docker.io/library/", rest, b""], [b"docker.io/", start, b"/"]]
            .map(|parts| Text::from(parts.concat()));
        let message = "no official image begins with this: in full, those are in `docker.io/library/`";
        let warning = Diagnostic::warning("image-without-owner", text.span, message);
        self.report(warning.help(match verb {
            TextVerb::StartsWith => format!("write {official}, or {owner} for all images of this owner"),
            _ => format!("write {official}"),
        }));
    }

    /// Warns of a glob where it is compared as a text; `help` adds what to do.
    fn warn_of_glob(&mut self, text: &Spanned<Text>, help: impl FnOnce(Diagnostic) -> Diagnostic) {
        if text.node.as_bytes().contains(&b'*') {
            self.report(help(Diagnostic::warning("glob-as-text", text.span, "`*` stands for itself here")));
        }
    }
}

/// What comes before the only `*` of a glob, at its end.
fn start_of_glob(glob: &Text) -> Option<Text> {
    let start = glob.as_bytes().strip_suffix(b"*")?;
    (!start.is_empty() && !start.contains(&b'*')).then(|| Text::from(start))
}

/// The text that a term is.
fn text(term: &Spanned<Term>) -> Option<Spanned<Text>> {
    let Term::Text(text) = &term.node else { return None };
    Some(Spanned::new(text.clone(), term.span))
}

/// The field of a selector that a term looks at.
fn field(term: &Term) -> Option<SelectorField> {
    match term {
        Term::Name(field) => Some(field.of_selector()),
        Term::Label(key) => Some(SelectorField::Label(key.clone())),
        _ => None,
    }
}

/// The word for a field.
fn name(field: &SelectorField) -> String {
    if let SelectorField::Label(_) = field { "label".to_owned() } else { field.to_string() }
}
