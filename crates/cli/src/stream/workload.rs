//! What runs in a cgroup, as a stream has it.

use knobgate::workload::{Engine, Piece, Role, Workload};
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

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_stream_says_what_the_label_of_the_workload_says() {
        for (path, expected) in [
            ("/docker/{A}", "docker/aaaaaaaaaaaa"),
            ("/x/docker-{A}.scope/docker-{B}.scope", "docker/bbbbbbbbbbbb in docker/aaaaaaaaaaaa"),
            ("/x/docker-{A}.scope/nginx.service", "unit nginx.service in docker/aaaaaaaaaaaa"),
            ("/docker/{A}/lxc.payload.web", "lxc/web in docker/aaaaaaaaaaaa"),
            ("/docker/{A}/{B}", "container/bbbbbbbbbbbb in docker/aaaaaaaaaaaa"),
            ("/docker/{A}/no/pattern", "docker/aaaaaaaaaaaa"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "user 1000 unit x.service"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice", "user 1000 unit app.slice"),
            ("/user.slice/user-1000.slice/user@1000.service", "unit user@1000.service"),
            ("/jobs/user@1000.service/x.service", "user 1000 unit x.service"),
            ("/user.slice/user-1000.slice/session-3.scope", "unit session-3.scope"),
            ("/system.slice", "unit system.slice"),
            ("/system.slice/nginx.service/worker", "unit nginx.service"),
            ("/system.slice/nginx.service/docker-{A}.scope", "docker/aaaaaaaaaaaa"),
            ("/machine.slice/libpod-conmon-{A}.scope", "monitor of podman/aaaaaaaaaaaa"),
            ("/machine.slice/machine-libpod_pod_{A}.slice/libpod-{B}.scope", "podman/bbbbbbbbbbbb"),
            ("/machine.slice/machine-libpod_pod_{A}.slice", "podman/pod/aaaaaaaaaaaa"),
            ("/default/{A}", "containerd/default/aaaaaaaaaaaa"),
            (r"/machine.slice/machine-a\x2db.scope", "nspawn/a-b"),
            (r"/system.slice/a\x2db.service", "unit a-b.service"),
        ] {
            let workload = Workload::of_path(of(path).as_bytes());
            let stream = stream_workload(&workload).unwrap();
            assert_eq!(stream.label(<[u8]>::to_vec).as_deref(), Some(expected), "{path}");
            assert_eq!(String::from_utf8_lossy(&workload.label()), expected, "{path}");
        }
        assert_eq!(stream_workload(&Workload::of_path(b"/jobs/nightly")), None);
    }

    #[test]
    fn each_name_is_quoted() {
        let level = |container: &str| StreamWorkload {
            engine: Some("docker".to_owned()),
            container: Some(container.to_owned()),
            ..StreamWorkload::default()
        };
        let workload = StreamWorkload { inner: Some(Box::new(level("x in docker/y"))), ..level("web") };
        let quoted = |name: &[u8]| [b"<", name, b">"].concat();
        let label = workload.label(quoted);
        assert_eq!(label.as_deref(), Some("<docker>/<x in docker/y> in <docker>/<web>"));
    }

    #[test]
    fn the_outermost_level_is_the_one_that_nothing_inside_can_choose() {
        for (path, container, unit) in [
            ("/docker/{A}", Some(A), None),
            ("/docker/{A}/docker-{B}.scope/lxc.payload.x", Some(A), None),
            ("/docker/{A}/nginx.service", Some(A), None),
            ("/system.slice/web.service/docker-{A}.scope/docker/{B}", None, Some("web.service")),
            ("/jobs/docker/{A}", None, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/x.service/docker-{A}.scope",
                None,
                Some("user@1000.service"),
            ),
        ] {
            let stream = stream_workload(&Workload::of_path(of(path).as_bytes())).unwrap();
            assert_eq!((stream.container_or_id(), stream.unit.as_deref()), (container, unit), "{path}");
        }
    }

    fn of(path: &str) -> String {
        path.replace("{A}", A).replace("{B}", B)
    }
}
