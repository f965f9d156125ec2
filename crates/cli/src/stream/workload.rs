//! What runs in a cgroup: as a stream has it, and in words.

use knobgate::workload::{Engine, LabelLevel, Piece, Role, Workload, label};
use knobgate_events::StreamWorkload;

/// What the stream calls systemd.
const SYSTEMD: &str = "systemd";

/// The workload as a stream has it, from the outermost level to the innermost; `None` if it is just a cgroup.
pub(super) fn stream_workload(workload: &Workload) -> Option<StreamWorkload> {
    if workload.engine == Engine::None {
        return None;
    }
    let mut stream = level(workload);
    let mut outermost = workload;
    while let Some(outer) = outermost.outer.as_deref() {
        outermost = outer;
        stream = StreamWorkload { inner: Some(Box::new(stream)), ..level(outermost) };
    }
    if let Some(owner) = &outermost.owner {
        stream = StreamWorkload { inner: Some(Box::new(stream)), ..level(owner) };
    }
    Some(stream)
}

/// One level alone.
fn level(workload: &Workload) -> StreamWorkload {
    let text = |piece: &Option<Piece>| {
        piece.as_ref().map(|piece| String::from_utf8_lossy(piece.bytes()).into_owned())
    };
    let engine = match workload.engine {
        Engine::None => None,
        Engine::Systemd => Some(SYSTEMD),
        engine => Some(engine.name()),
    };
    let is_slice = workload.innermost_unit() == workload.slice.as_ref();
    StreamWorkload {
        engine: engine.map(str::to_owned),
        monitor: workload.role == Role::Monitor,
        container: text(&workload.container_name),
        container_id: text(&workload.container_id),
        pod: text(&workload.pod_name),
        pod_id: text(&workload.pod_id),
        namespace: text(&workload.namespace),
        image: text(&workload.image),
        project: text(&workload.project),
        service: text(&workload.service),
        unit: text(&workload.unit),
        slice: text(&workload.slice).filter(|_| is_slice),
        user: workload.naming_user(),
        inner: None,
    }
}

/// The name in one column, like [`Workload::label`]; `None` if nothing has one. Each name goes through `quoted`.
pub(super) fn stream_label(workload: &StreamWorkload, quoted: impl Fn(&[u8]) -> Vec<u8>) -> Option<String> {
    let mut levels: Vec<&StreamWorkload> = workload.levels().collect();
    levels.reverse();
    let is_container =
        |level: &StreamWorkload| level.container_or_id().is_some() || level.pod_or_id().is_some();
    // The innermost one, and the containers around it.
    let shown = levels.iter().enumerate().filter(|&(index, level)| index == 0 || is_container(level));
    let label = label(shown.map(|(_, level)| label_level(level)), quoted);
    (!label.is_empty()).then(|| String::from_utf8_lossy(&label).into_owned())
}

fn label_level(level: &StreamWorkload) -> LabelLevel<'_> {
    fn bytes(text: &Option<String>) -> Option<&[u8]> {
        text.as_deref().map(str::as_bytes)
    }
    LabelLevel {
        engine: level.engine.as_deref().unwrap_or(Engine::Container.name()),
        is_monitor: level.monitor,
        container: bytes(&level.container),
        container_id: bytes(&level.container_id),
        pod: bytes(&level.pod),
        pod_id: bytes(&level.pod_id),
        namespace: bytes(&level.namespace),
        project: bytes(&level.project),
        unit: bytes(&level.slice).or(bytes(&level.unit)),
        user: level.user,
    }
}
