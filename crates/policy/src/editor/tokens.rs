//! The tokens of a text.

use crate::lexer::TokenKind;
use crate::{Source, Span, parser};

/// A token of a text, with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyntaxToken {
    /// What it is.
    pub kind: SyntaxTokenKind,
    /// Its place.
    pub span: Span,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxTokenKind {
    /// A word of the language, or the name of an errno.
    Word,
    /// The name of a knob, or a pattern.
    Knob,
    /// The name of the policy.
    PolicyName,
    /// An integer.
    Integer,
    /// A text between quotes.
    Text,
    /// Punctuation.
    Punctuation,
}

/// The tokens of `source`, by position. Where a statement has an error, what follows in it is left out.
pub fn tokens(source: &Source) -> Vec<SyntaxToken> {
    let tokens = parser::parse_tokens(source.text()).tokens;
    let mut after_policy = false;
    tokens
        .iter()
        .filter_map(|token| {
            let kind = match token.kind {
                TokenKind::Word => SyntaxTokenKind::Word,
                TokenKind::Name if after_policy => SyntaxTokenKind::PolicyName,
                TokenKind::Name => SyntaxTokenKind::Knob,
                TokenKind::Integer(_) => SyntaxTokenKind::Integer,
                TokenKind::Text(_) => SyntaxTokenKind::Text,
                TokenKind::Punct(_) => SyntaxTokenKind::Punctuation,
                TokenKind::Newline | TokenKind::End | TokenKind::Stray(_) => {
                    after_policy = false;
                    return None;
                }
            };
            after_policy = kind == SyntaxTokenKind::Word && source.slice(token.span) == "policy";
            Some(SyntaxToken { kind, span: token.span })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_their_kinds_and_places() {
        let source =
            Source::new("x", "policy policy\nset write vm.* to \"1\" # x\nallow read a b\ndeny write c\n");
        let shown: Vec<String> = tokens(&source)
            .iter()
            .map(|token| format!("{:?} {}", token.kind, source.slice(token.span)))
            .collect();
        assert_eq!(
            shown,
            [
                "Word policy",
                "PolicyName policy",
                "Word set",
                "Word write",
                "Knob vm.*",
                "Word to",
                "Text \"1\"",
                "Word allow",
                "Word read",
                "Knob a",
                "Word deny",
                "Word write",
                "Knob c",
            ]
        );
    }
}
