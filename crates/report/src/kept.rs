//! How much of a text is kept. A stream may claim anything, so nothing relies on what programs would have sent.

use std::borrow::Cow;

use knobgate_events::EventText;
use knobgate_events::record::TEXT_MAX;

/// What is kept of a text.
pub(crate) fn kept(text: &EventText) -> EventText {
    let mut kept = EventText::default();
    keep(&mut kept, text);
    kept
}

/// The same, in a text that is there already.
pub(crate) fn keep(kept: &mut EventText, text: &EventText) {
    kept.bytes.clear();
    kept.bytes.extend(start(&text.bytes));
    let is_cut = kept.bytes.len() < text.bytes.len();
    kept.cut_from = text.cut_from.or(is_cut.then(|| text.bytes.len().try_into().unwrap_or(u32::MAX)));
}

/// The start of a text.
pub(crate) fn start(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(TEXT_MAX)]
}

/// The start of a label, with an ellipsis if there is more.
pub(crate) fn label(label: &str) -> Cow<'_, str> {
    match label.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &label[..end])),
        None => Cow::Borrowed(label),
    }
}
