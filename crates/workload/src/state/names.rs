//! Pieces from the state of engines.

use std::collections::HashMap;

use crate::component::is_name;
use crate::labels::Labels;
use crate::workload::{Origin, Piece, Workload};

/// The longest name, which is that of a pod (`DNS1123SubdomainMaxLength` of Kubernetes).
const NAME_MAX: usize = 253;
/// The longest image: registry, repository, tag and digest are shorter.
const IMAGE_MAX: usize = 4096;

/// The most bytes that keys and values of labels may have, so that a container with large ones takes no more memory.
const LABELS_MAX: usize = 64 << 10;

/// Labels or annotations.
pub(super) type Annotations = HashMap<String, String>;

/// A name, if it has only what engines allow in names: letters, digits, `_`, `+`, `.` and `-`. So it cannot be taken for two
/// parts of a label.
pub(super) fn name(text: Option<&str>) -> Option<Piece> {
    let text = text.filter(|text| text.len() <= NAME_MAX && is_name(text.as_bytes()))?;
    Some(Piece::new(text, Origin::State))
}

/// The name in this label.
pub(super) fn name_in(labels: &Annotations, label: &str) -> Option<Piece> {
    name(labels.get(label).map(String::as_str))
}

/// An image, as somebody asked for it.
pub(super) fn image(text: Option<&str>) -> Option<Piece> {
    let text = text.filter(|text| (1..=IMAGE_MAX).contains(&text.len()))?;
    Some(Piece::new(text, Origin::State))
}

/// Labels of a container, which are all of them if `is_complete`; those of `of_container` count before those of `of_pod`.
pub(super) fn labels(of_container: Annotations, of_pod: Annotations, is_complete: bool) -> Labels {
    let size =
        |labels: &Annotations| labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if size(&of_container) + size(&of_pod) > LABELS_MAX {
        return Labels::default();
    }
    Labels::new(of_pod.into_iter().chain(of_container), is_complete)
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
