//! Pieces from the state of engines.

use crate::component::is_name;
use crate::labels::Labels;
pub(super) use crate::names::{Annotations, image, name, name_in};
use crate::workload::{Origin, Piece, Workload};

/// The most bytes that keys and values of labels may have, so that a container with large ones takes no more memory.
const LABELS_MAX: usize = 64 << 10;

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
