//! Where to go from a place: from a rule that is never reached to those that decide before it, from other repeated statements to the
//! first one, and from an `include` statement to its file.

use gen_lsp_types::{Definition, DefinitionParams, DefinitionResponse, Location, Position, Range};
use knobgate_policy::editor::{OutlineItem, OutlineKind};
use knobgate_policy::{Diagnostic, Span};

use crate::analysis::Analysis;
use crate::open_files;
use crate::server::Server;

pub(crate) fn definition(server: &mut Server<'_>, params: DefinitionParams) -> Option<DefinitionResponse> {
    let place = params.text_document_position_params;
    let uri = place.text_document.uri;
    let document = server.documents.get(&uri)?;
    let offset = document.offset(place.position, server.encoding);
    let encoding = server.encoding;
    let touches = |span: Span| (span.start..=span.end).contains(&offset);
    let analyses = server.analyses_with(&uri);
    let mut locations: Vec<Location> = Vec::new();
    for analysis in &analyses {
        let is_here = |diagnostic: &&Diagnostic| {
            let place = analysis.locate(diagnostic.primary.span);
            place.is_some_and(|(file, _, span)| *file == uri && touches(span))
        };
        for diagnostic in analysis.diagnostics.iter().filter(is_here) {
            let labels = diagnostic.secondary.iter().filter(|label| !includes(analysis, label.span));
            locations.extend(labels.map(|label| analysis.location(label.span, encoding)));
        }
    }
    if locations.is_empty() {
        let own = server.analysis(&uri)?;
        let statement = own.outline.items.iter().find(|item| touches(item.span))?;
        locations.push(included_file(server, &uri, statement)?);
    }
    let mut seen = Vec::new();
    locations.retain(|location| {
        let is_new = !seen.contains(location);
        seen.push(location.clone());
        is_new
    });
    Some(Definition::from(locations).into())
}

/// Whether an `include` statement is at `span`. A diagnostic of what it includes names it, too.
fn includes(analysis: &Analysis, span: Span) -> bool {
    analysis.locate(span).is_some_and(|(_, source, place)| source.slice(place).starts_with("include"))
}

/// The file that a statement of the text at `uri` includes, if there is one.
fn included_file(server: &Server<'_>, uri: &gen_lsp_types::Uri, statement: &OutlineItem) -> Option<Location> {
    let from = server.documents.get(uri)?.path.as_deref()?;
    if statement.kind != OutlineKind::IncludedFile {
        return None;
    }
    let path = open_files::path(from, &statement.name, None);
    let uri = match server.documents.at_path(&path, server.environment) {
        Some(open) => open.uri.clone(),
        None => {
            server.environment.canonical(&path)?;
            open_files::uri_of(&path, server.environment)
        }
    };
    let start = Position { line: 0, character: 0 };
    Some(Location { uri, range: Range { start, end: start } })
}
