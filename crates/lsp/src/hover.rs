//! What is under the cursor.

use std::fmt::Write;

use gen_lsp_types::{Hover, HoverParams, MarkupContent};
use knobgate_policy::editor::{self, OutlineKind, SyntaxTokenKind};
use knobgate_policy::{KnobPattern, presets};

use crate::knob_help;
use crate::server::Server;
use crate::word_help::word_help;

pub(crate) fn hover(server: &mut Server<'_>, params: HoverParams) -> Option<Hover> {
    let place = params.text_document_position_params;
    let uri = place.text_document.uri;
    let document = server.documents.get(&uri)?;
    let offset = document.offset(place.position, server.encoding);
    let tokens = editor::tokens(document.source());
    // Between two tokens, the one that begins there.
    let token = tokens.iter().rfind(|token| token.span.start <= offset && offset <= token.span.end)?;
    let text = document.source().slice(token.span).to_owned();
    let range = document.lines().range(document.text(), token.span, server.encoding);
    let value = match token.kind {
        SyntaxTokenKind::Word => format!("`{text}`: {}", word_help(&text)?),
        SyntaxTokenKind::Knob => {
            let pattern = KnobPattern::parse(&text).ok()?;
            let analyses = server.analyses_with(&uri);
            knob_help::knob_help(&pattern, &analyses, server.knobs.as_deref(), server.environment)
        }
        SyntaxTokenKind::Text => {
            let outline = &server.analysis(&uri)?.outline;
            let is_it = |item: &&editor::OutlineItem| {
                item.kind == OutlineKind::IncludedPreset && item.name_span == token.span
            };
            preset_help(&outline.items.iter().find(is_it)?.name)?
        }
        _ => return None,
    };
    let contents = MarkupContent { kind: server.markup.clone(), value };
    Some(Hover { contents: contents.into(), range: Some(range) })
}

/// What a preset does, and its rules.
fn preset_help(name: &str) -> Option<String> {
    let preset = presets::named(name).ok()?;
    let mut help = format!("`{preset}`: {}\n\n```knob\n", preset.summary());
    let rules = preset.rules().lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    for rule in rules {
        let _ = writeln!(help, "{rule}");
    }
    help.push_str("```");
    Some(help)
}
