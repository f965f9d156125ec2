//! Pieces from the state of engines.

use crate::component::is_name;
pub(super) use crate::names::{Labels, image, name, name_in};
use crate::workload::{Origin, Piece, Workload};

/// Whether the state has said what the workload is called.
pub(super) fn known_name(workload: &Workload) -> bool {
    let pieces = [&workload.container_name, &workload.pod_name, &workload.image];
    pieces.into_iter().flatten().any(|piece| piece.origin() == Origin::State)
}

/// The id of the container, if it can be the name of a directory. Ids in paths are; this also holds for the others.
pub(super) fn id(workload: &Workload) -> Option<&[u8]> {
    workload.container_id.as_ref().map(Piece::bytes).filter(|id| is_name(id))
}
