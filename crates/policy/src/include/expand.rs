//! A policy with what it includes as one text. Each `include` statement is a comment there, what it includes comes after it, and
//! then another comment. So the text means the same without its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::not_included::NotIncluded;
use super::{IncludeLoader, Inclusions};
use crate::parser::{self, Part};
use crate::presets;
use crate::syntax::{IncludeSyntax, Included};
use crate::{Diagnostic, Source, Span, check, limits};

/// A text with everything that it includes.
pub(crate) struct Expanded {
    pub(crate) source: Source,
    /// What is parsed, by position.
    pub(crate) parts: Vec<Part>,
    /// What could not be included. Those statements are still in the text.
    pub(crate) errors: Vec<Diagnostic>,
}

/// `policy` with what its `statements` include.
pub(crate) fn expand(
    policy: Source,
    statements: &[IncludeSyntax],
    loader: Option<&dyn IncludeLoader>,
) -> Expanded {
    let (name, policy) = (policy.name().to_owned(), Arc::new(policy));
    let mut expander = Expander {
        loader,
        room: limits::FILE_MAX.saturating_sub(policy.text().len()),
        included: 0,
        text: String::new(),
        inclusions: Inclusions::new(Arc::clone(&policy)),
        parts: Vec::new(),
        errors: Vec::new(),
    };
    let file = IncludingFile { source: policy, index: 0, path: None, included_by: None };
    let mut ids: Vec<PathBuf> = loader.and_then(IncludeLoader::policy_id).into_iter().collect();
    expander.file(&file, statements, &mut ids, 0);
    let source = Source::new(name, expander.text).with_inclusions(expander.inclusions);
    Expanded { source, parts: expander.parts, errors: expander.errors }
}

struct Expander<'a> {
    loader: Option<&'a dyn IncludeLoader>,
    /// How many bytes the text may still grow by.
    room: usize,
    /// How many texts have been included.
    included: usize,
    text: String,
    inclusions: Inclusions,
    parts: Vec<Part>,
    errors: Vec<Diagnostic>,
}

/// A file that is being copied.
struct IncludingFile {
    source: Arc<Source>,
    index: usize,
    path: Option<PathBuf>,
    included_by: Option<Span>,
}

/// What a statement includes.
struct Loaded {
    source: Source,
    /// Its path and what identifies it; `None` for a preset.
    file: Option<(PathBuf, PathBuf)>,
}

impl Expander<'_> {
    /// Appends `file`, which is `depth` files deep, and what its `statements` include. The open files are `ids`.
    fn file(
        &mut self,
        file: &IncludingFile,
        statements: &[IncludeSyntax],
        ids: &mut Vec<PathBuf>,
        depth: usize,
    ) {
        let text = file.source.text();
        let mut done = 0;
        for statement in statements {
            let line_start = text[..statement.span.start].rfind('\n').map_or(0, |newline| newline + 1);
            let line_end = text[statement.span.end..]
                .find('\n')
                .map_or(text.len(), |newline| statement.span.end + newline + 1);
            let opening = (line_end - line_start) + OPENING.len() + 1;
            let closing = CLOSING.len() + statement.span.len() + LINES.len() + LINES_DIGITS + 1;
            let loaded = match self.load(statement, file.path.as_deref(), ids, depth, opening + closing) {
                Ok(loaded) => loaded,
                Err(why) => {
                    let error = why.diagnostic(statement);
                    // The statement stays where it is.
                    self.errors.push(shifted(error, self.text.len(), done));
                    if self.included > limits::INCLUDES_MAX {
                        break;
                    }
                    continue;
                }
            };
            self.copy(file, Span::new(done, line_start));
            done = line_end;

            self.text.push_str(OPENING);
            let place = self.text.len() + (statement.span.start - line_start);
            let place = Span::new(place, place + statement.span.len());
            self.append(file, Span::new(line_start, line_end));
            self.end_line();

            let start = self.text.len();
            self.include(loaded, place, ids, depth + 1);
            let lines = self.text[start..].matches('\n').count();

            self.inclusions.add_piece(
                self.text.len(),
                file.index,
                Span::new(statement.span.start, statement.span.start),
            );
            self.text.push_str(CLOSING);
            self.text.push_str(&text[statement.span.range()]);
            self.text.push_str(&format!("{LINES}{lines}\n"));
        }
        self.copy(file, Span::new(done, text.len()));
    }

    /// Appends a text that the statement at `place` includes.
    fn include(&mut self, loaded: Loaded, place: Span, ids: &mut Vec<PathBuf>, depth: usize) {
        let source = Arc::new(loaded.source);
        let is_preset = loaded.file.is_none();
        let index = self.inclusions.add_file(Arc::clone(&source), place, is_preset);
        let (path, id) = loaded.file.unzip();
        let start = self.text.len();
        if let Some(error) = check::encoding_error(&source) {
            self.errors.push(shifted(error, start, 0));
        }
        let statements = parser::parse_included(source.text()).includes;
        let is_file = id.is_some();
        ids.extend(id);
        let file = IncludingFile { source, index, path, included_by: Some(place) };
        self.file(&file, &statements, ids, depth);
        self.end_line();
        if is_file {
            ids.pop();
        }
    }

    /// Appends a part of `file` that is parsed.
    fn copy(&mut self, file: &IncludingFile, part: Span) {
        let start = self.text.len();
        self.append(file, part);
        let span = Span::new(start, self.text.len());
        self.parts.push(Part { span, included_by: file.included_by });
    }

    /// Appends a part of `file`.
    fn append(&mut self, file: &IncludingFile, part: Span) {
        self.inclusions.add_piece(self.text.len(), file.index, part);
        self.text.push_str(file.source.slice(part));
    }

    fn end_line(&mut self) {
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// What `statement` includes, in the file at `from`. What stands around it takes `around` bytes.
    fn load(
        &mut self,
        statement: &IncludeSyntax,
        from: Option<&Path>,
        ids: &[PathBuf],
        depth: usize,
        around: usize,
    ) -> Result<Loaded, NotIncluded> {
        self.included += 1;
        if self.included > limits::INCLUDES_MAX {
            return Err(NotIncluded::TooMany);
        }
        if depth == limits::INCLUDE_DEPTH_MAX {
            return Err(NotIncluded::TooDeep);
        }
        let loaded = match &statement.what {
            Included::Preset(name) => {
                let preset = presets::named(name)?;
                let source = Source::new(format!("preset {preset}"), preset.rules());
                Loaded { source, file: None }
            }
            Included::File(name) => {
                let loader = self.loader.ok_or(NotIncluded::NoFiles)?;
                let text = loader.load(name, from, self.room.saturating_sub(around))?;
                if ids.contains(&text.id) {
                    return Err(NotIncluded::Cycle(text.name));
                }
                if Path::new(&text.name).extension().is_some_and(|extension| extension == "json") {
                    return Err(NotIncluded::Json);
                }
                // A byte order mark means nothing inside a text.
                let bytes = text.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text.bytes);
                Loaded { source: Source::from_bytes(text.name, bytes), file: Some((text.path, text.id)) }
            }
        };
        // A newline may be missing at its end.
        let needed = loaded.source.text().len() + 1 + around;
        match self.room.checked_sub(needed) {
            Some(room) => self.room = room,
            None => return Err(NotIncluded::TooLarge(loaded.source.name().to_owned())),
        }
        Ok(loaded)
    }
}

/// What makes an `include` statement a comment.
pub(super) const OPENING: &str = "# ";

/// Before the statement whose text ends.
pub(super) const CLOSING: &str = "# end of ";

/// After that statement, and before how many lines its text has.
pub(super) const LINES: &str = ", lines: ";

/// How many digits that number has at most.
const LINES_DIGITS: usize = limits::FILE_MAX.ilog10() as usize + 1;

/// `error`, whose places are in a file, for a text in which what is at `from` there is at `to`.
fn shifted(mut error: Diagnostic, to: usize, from: usize) -> Diagnostic {
    let shift = |span: &mut Span| *span = Span::new(span.start - from + to, span.end - from + to);
    shift(&mut error.primary.span);
    if let Some(suggestion) = &mut error.suggestion {
        shift(&mut suggestion.span);
    }
    error
}
