//! The outline of a text.

use gen_lsp_types::{DocumentSymbol, DocumentSymbolParams, DocumentSymbolResponse, SymbolKind};
use knobgate_policy::editor::OutlineKind;
use knobgate_policy::terminal::escape;

use crate::server::Server;

/// How much of a rule an outline shows, in characters.
const NAME_MAX: usize = 80;

pub(crate) fn symbols(
    server: &mut Server<'_>,
    params: DocumentSymbolParams,
) -> Option<DocumentSymbolResponse> {
    let uri = params.text_document.uri;
    let analysis = server.analysis(&uri)?;
    let document = server.documents.get(&uri)?;
    let range = |span| document.lines().range(document.text(), span, server.encoding);
    let symbols: Vec<DocumentSymbol> = analysis
        .outline
        .items
        .iter()
        .map(|item| {
            #[expect(deprecated, reason = "the type has a deprecated field")]
            DocumentSymbol {
                name: shown(&item.name),
                detail: None,
                kind: match item.kind {
                    OutlineKind::Policy => SymbolKind::Namespace,
                    OutlineKind::Test => SymbolKind::Method,
                    OutlineKind::IncludedFile | OutlineKind::IncludedPreset => SymbolKind::File,
                    _ => SymbolKind::Key,
                },
                tags: None,
                deprecated: None,
                range: range(item.span),
                selection_range: range(item.name_span),
                children: None,
            }
        })
        .collect();
    Some(symbols.into())
}

/// The name in one line. An empty one would be an error.
fn shown(name: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = name.chars().take(NAME_MAX).collect();
    let cut = if cut.len() < name.len() { cut + "\u{2026}" } else { cut };
    if cut.is_empty() { "\"\"".to_owned() } else { escape(cut.as_bytes()) }
}
