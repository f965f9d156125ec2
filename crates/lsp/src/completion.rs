//! What may come next at a place.

use gen_lsp_types::{CompletionItem, CompletionItemKind, CompletionParams, CompletionResponse, TextEdit};
use knobgate_policy::editor::{self, Candidate};
use knobgate_policy::{Errno, Span, presets};

use crate::knob_names;
use crate::server::Server;
use crate::word_help::{errno_help, word_help};

/// What makes an editor ask, besides letters.
pub(crate) const TRIGGERS: &[&str] = &[".", "/", "(", "\""];

/// Something that may come next.
struct Item {
    label: String,
    /// What is written; the label if there is none.
    text: Option<String>,
    kind: CompletionItemKind,
    detail: Option<String>,
}

impl Item {
    fn new(label: impl Into<String>, kind: CompletionItemKind, detail: Option<String>) -> Self {
        Self { label: label.into(), text: None, kind, detail }
    }
}

pub(crate) fn completion(server: &mut Server<'_>, params: CompletionParams) -> Option<CompletionResponse> {
    let place = params.text_document_position_params;
    let document = server.documents.get(&place.text_document.uri)?;
    let offset = document.offset(place.position, server.encoding);
    let before = &document.text()[..offset];
    let candidates = editor::candidates(before);
    let begun = &before[candidates.start..];
    let range = document.lines().range(document.text(), Span::new(candidates.start, offset), server.encoding);
    let knobs = server.knobs.as_deref().unwrap_or_default();
    let mut items = Vec::new();
    for candidate in candidates.all {
        match candidate {
            Candidate::Word(word) => {
                let kind =
                    if word == "=>" { CompletionItemKind::Operator } else { CompletionItemKind::Keyword };
                items.push(Item::new(word, kind, word_help(word)));
            }
            Candidate::Errno => {
                let item = |errno: &Errno| {
                    Item::new(errno.name(), CompletionItemKind::EnumMember, Some(errno_help(*errno)))
                };
                items.extend(Errno::ALL.iter().map(item));
            }
            Candidate::Preset => {
                let item = |preset: &presets::Preset| {
                    let summary = Some(preset.summary().to_owned());
                    Item::new(preset.to_string(), CompletionItemKind::Module, summary)
                };
                items.extend(presets::all().iter().map(item));
            }
            Candidate::Pattern | Candidate::Name => {
                let is_pattern = candidate == Candidate::Pattern;
                items.extend(knob_names::next(begun, is_pattern, knobs).into_iter().map(|component| {
                    let kind = match component.is_directory {
                        true => CompletionItemKind::Folder,
                        false => CompletionItemKind::Property,
                    };
                    Item { text: Some(component.text), ..Item::new(component.label, kind, component.summary) }
                }));
            }
            // The editor knows the files.
            _ => {}
        }
    }
    // Editors sort by label otherwise. This keeps the words in the order of the language, before the names.
    let item = |(at, item): (usize, Item)| CompletionItem {
        label: item.label.clone(),
        kind: Some(item.kind),
        detail: item.detail,
        sort_text: Some(format!("{at:04}")),
        filter_text: item.text.clone(),
        text_edit: Some(TextEdit { range, new_text: item.text.unwrap_or(item.label) }.into()),
        ..CompletionItem::default()
    };
    Some(items.into_iter().enumerate().map(item).collect::<Vec<_>>().into())
}
