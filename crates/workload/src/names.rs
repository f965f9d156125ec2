//! Pieces from what engines say.

use std::collections::HashMap;

use crate::component::is_name;
use crate::workload::{Origin, Piece};

/// The longest name, which is that of a pod (`DNS1123SubdomainMaxLength` of Kubernetes).
const NAME_MAX: usize = 253;
/// The longest image: registry, repository, tag and digest are shorter.
const IMAGE_MAX: usize = 4096;

/// Labels or annotations.
pub(crate) type Annotations = HashMap<String, String>;

/// A name, if it has only what engines allow in names: letters, digits, `_`, `+`, `.` and `-`. So it cannot be taken for two
/// parts of a label.
pub(crate) fn name(text: Option<&str>) -> Option<Piece> {
    let text = text.filter(|text| text.len() <= NAME_MAX && is_name(text.as_bytes()))?;
    Some(Piece::new(text, Origin::State))
}

/// The name in this label.
pub(crate) fn name_in(labels: &Annotations, label: &str) -> Option<Piece> {
    name(labels.get(label).map(String::as_str))
}

/// An image, as somebody asked for it.
pub(crate) fn image(text: Option<&str>) -> Option<Piece> {
    let text = text.filter(|text| (1..=IMAGE_MAX).contains(&text.len()))?;
    Some(Piece::new(text, Origin::State))
}
