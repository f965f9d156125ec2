//! Pieces from the state of engines.

use std::collections::HashMap;

use crate::component::is_name;
use crate::workload::{Origin, Piece, Workload};

/// The longest name, which is that of a pod (`DNS1123SubdomainMaxLength` of Kubernetes).
const NAME_MAX: usize = 253;
/// The longest image: registry, repository, tag and digest are shorter.
const IMAGE_MAX: usize = 4096;

/// Labels or annotations.
pub(super) type Labels = HashMap<String, String>;

/// A name, if it has only what engines allow in names: letters, digits, `_`, `+`, `.` and `-`. So it cannot be taken for two
/// parts of a label.
pub(super) fn name(text: Option<&str>) -> Option<Piece> {
    let text = text.filter(|text| text.len() <= NAME_MAX && is_name(text.as_bytes()))?;
    Some(Piece::new(text, Origin::State))
}

/// The name in this label.
pub(super) fn name_in(labels: &Labels, label: &str) -> Option<Piece> {
    name(labels.get(label).map(String::as_str))
}

/// An image, as somebody asked for it.
pub(super) fn image(text: Option<&str>) -> Option<Piece> {
    let text = text.filter(|text| (1..=IMAGE_MAX).contains(&text.len()))?;
    Some(Piece::new(text, Origin::State))
}

/// Whether the state has said what the workload is called.
pub(super) fn known_name(workload: &Workload) -> bool {
    let pieces = [&workload.container_name, &workload.pod_name, &workload.image];
    pieces.into_iter().flatten().any(|piece| piece.origin() == Origin::State)
}

/// The id of the container, if it can be the name of a directory. Ids in paths are; this also holds for the others.
pub(super) fn id(workload: &Workload) -> Option<&[u8]> {
    workload.container_id.as_ref().map(Piece::bytes).filter(|id| is_name(id))
}
