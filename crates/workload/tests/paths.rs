//! The paths that engines and their drivers make.

use knobgate_workload::{Engine, Origin, Piece, Role, Workload};

/// Ids of containers and pods.
const A: &str = "4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";
const B: &str = "b0c1d2e3f4a5968778695a4b3c2d1e0fb0c1d2e3f4a5968778695a4b3c2d1e0f";
const UID: &str = "2f1a3b4c-5d6e-7f80-91a2-b3c4d5e6f708";
const SLICE_UID: &str = "2f1a3b4c_5d6e_7f80_91a2_b3c4d5e6f708";

/// A path with `A`, `B`, `UID` and `SLICE_UID` filled in.
fn path(pattern: &str) -> String {
    [("{A}", A), ("{B}", B), ("{UID}", UID), ("{SLICE_UID}", SLICE_UID)]
        .iter()
        .fold(pattern.to_owned(), |path, (name, value)| path.replace(name, value))
}

fn of(pattern: &str) -> Workload {
    Workload::of_path(path(pattern).as_bytes())
}

fn text(piece: &Option<Piece>) -> Option<&str> {
    piece.as_ref().map(|piece| str::from_utf8(piece.bytes()).expect("text"))
}

#[test]
fn each_engine_and_driver_has_its_label() {
    let cases = [
        // Docker with the drivers cgroupfs and systemd, as root and rootless.
        ("/docker/{A}", "docker/4f6b1e3a9c0d"),
        ("/system.slice/docker-{A}.scope", "docker/4f6b1e3a9c0d"),
        ("/system.slice/docker-{A}.scope/init", "docker/4f6b1e3a9c0d"),
        ("/system.slice/docker.service/docker/{A}", "docker/4f6b1e3a9c0d"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", "docker/4f6b1e3a9c0d"),
        ("/system.slice:docker:{A}", "docker/4f6b1e3a9c0d"),
        // Podman.
        ("/machine.slice/libpod-{A}.scope", "podman/4f6b1e3a9c0d"),
        ("/machine.slice/libpod-{A}.scope/container", "podman/4f6b1e3a9c0d"),
        ("/machine.slice/libpod-conmon-{A}.scope", "monitor of podman/4f6b1e3a9c0d"),
        ("/libpod_parent/libpod-{A}", "podman/4f6b1e3a9c0d"),
        ("/libpod_parent/libpod-conmon-{A}", "monitor of podman/4f6b1e3a9c0d"),
        ("/libpod_parent/{B}/libpod-{A}", "podman/4f6b1e3a9c0d"),
        ("/libpod_parent/{B}", "podman/pod/b0c1d2e3f4a5"),
        ("/machine.slice/machine-libpod_pod_{B}.slice", "podman/pod/b0c1d2e3f4a5"),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", "podman/4f6b1e3a9c0d"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_{B}.slice/libpod-{A}.scope",
            "podman/4f6b1e3a9c0d",
        ),
        ("/system.slice/web.service/libpod-payload-{A}", "podman/4f6b1e3a9c0d"),
        // containerd for Kubernetes, with both drivers of the kubelet.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE_UID}.slice/cri-containerd-{A}.scope",
            "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        (
            "/kubepods.slice/kubepods-pod{SLICE_UID}.slice/cri-containerd-{A}.scope",
            "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
             kubelet-kubepods-besteffort-pod{SLICE_UID}.slice/cri-containerd-{A}.scope",
            "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        ("/kubepods/burstable/pod{UID}/{A}", "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d"),
        ("/kubepods/pod{UID}/{A}", "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d"),
        ("/kubepods/besteffort/pod{UID}", "k8s/2f1a3b4c-5d6"),
        ("/kubepods/burstable/pod2f6bd5b0a0fe57b4f9f5cf6bb9d4a9c6/{A}", "k8s/2f6bd5b0a0fe/4f6b1e3a9c0d"),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{SLICE_UID}.slice:cri-containerd:{A}",
            "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        // Docker for Kubernetes.
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{SLICE_UID}.slice/docker-{A}.scope",
            "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        // CRI-O.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE_UID}.slice/crio-{A}.scope/container",
            "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE_UID}.slice/crio-conmon-{A}.scope",
            "monitor of k8s/2f1a3b4c-5d6/4f6b1e3a9c0d",
        ),
        ("/kubepods/burstable/pod{UID}/crio-{A}", "k8s/2f1a3b4c-5d6/4f6b1e3a9c0d"),
        ("/system.slice/crio-{A}.scope", "crio/4f6b1e3a9c0d"),
        // nerdctl, and containerd by itself.
        ("/system.slice/nerdctl-{A}.scope", "nerdctl/4f6b1e3a9c0d"),
        ("/default/{A}", "containerd/default/4f6b1e3a9c0d"),
        ("/k8s.io/{A}", "containerd/k8s.io/4f6b1e3a9c0d"),
        // systemd.
        ("/system.slice/nginx.service", "unit nginx.service"),
        ("/system.slice/nginx.service/worker/1", "unit nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "unit getty@tty1.service"),
        ("/system.slice", "unit system.slice"),
        ("/init.scope", "unit init.scope"),
        ("/system.slice/dev-hugepages.mount", "unit dev-hugepages.mount"),
        (r"/system.slice/a\x2db.service", "unit a-b.service"),
        ("/system.slice/_cpu.service", "unit cpu.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "unit session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service", "unit user@1000.service"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user 1000 unit init.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice", "user 1000 unit app.slice"),
        (
            r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox\x2d12.scope/x.service",
            "user 1000 unit app-firefox-12.scope",
        ),
        // LXC, Incus and LXD.
        ("/lxc.payload.web", "lxc/web"),
        ("/lxc.payload.shop_web", "lxc/shop_web"),
        ("/lxc.payload.web/init.scope", "unit init.scope in lxc/web"),
        ("/lxc.monitor.web", "monitor of lxc/web"),
        ("/lxc/101", "lxc/101"),
        ("/lxc/101/ns/system.slice/ssh.service", "unit ssh.service in lxc/101"),
        // systemd-nspawn and libvirt.
        (r"/machine.slice/machine-web\x2d1.scope", "nspawn/web-1"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "nspawn/web"),
        (
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/a.service",
            "unit a.service in nspawn/web",
        ),
        (r"/machine.slice/machine-qemu\x2d1\x2dvm.scope", "libvirt/qemu-1-vm"),
        // runc and crun, alone.
        ("/system.slice/runc-web.scope", "runc/web"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/crun-web.scope", "crun/web"),
        ("/pods/x/{A}", "container/4f6b1e3a9c0d"),
        ("/web", "cgroup /web"),
        ("/", "cgroup /"),
        ("", "cgroup /"),
        // Containers in containers.
        ("/docker/{A}/docker/{B}", "docker/b0c1d2e3f4a5 in docker/4f6b1e3a9c0d"),
        (
            "/docker/{A}/kubelet/kubepods/burstable/pod{UID}/{B}",
            "k8s/2f1a3b4c-5d6/b0c1d2e3f4a5 in docker/4f6b1e3a9c0d",
        ),
        (
            "/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/\
             kubelet-kubepods-pod{SLICE_UID}.slice/cri-containerd-{B}.scope",
            "k8s/2f1a3b4c-5d6/b0c1d2e3f4a5 in docker/4f6b1e3a9c0d",
        ),
        ("/lxc.payload.web/docker/{A}/lxc/x", "lxc/x in docker/4f6b1e3a9c0d in lxc/web"),
    ];
    for (pattern, label) in cases {
        assert_eq!(of(pattern).label(), label.as_bytes(), "{pattern}: {:?}", of(pattern));
    }
}

#[test]
fn names_that_only_resemble_a_pattern_are_not_taken_for_it() {
    let short = &A[1..];
    for path in [
        format!("/docker/{short}"),
        format!("/docker/{}", A.to_uppercase()),
        format!("/x/docker-{A}"),
        format!("/libpod-{short}"),
        "/pod1234/x".to_owned(),
        "/x/lxc/web".to_owned(),
        "/lxc.payload.".to_owned(),
        "/lxc.payload.a b".to_owned(),
        "/lxc.payload...".to_owned(),
        "/a b.service".to_owned(),
    ] {
        let workload = Workload::of_path(path.as_bytes());
        assert_eq!(workload.label(), format!("cgroup {path}").as_bytes());
        assert_eq!(workload, Workload::of_path(b"/").with_path(&path));
    }
    // These are units that systemd could have.
    for unit in
        [format!("docker-{short}.scope"), "kubepods-podXY.slice".to_owned(), "machine-.scope".to_owned()]
    {
        assert_eq!(of(&format!("/{unit}")).label(), format!("unit {unit}").as_bytes());
    }
}

trait WithPath {
    fn with_path(self, path: &str) -> Self;
}

impl WithPath for Workload {
    fn with_path(mut self, path: &str) -> Self {
        self.path = path.as_bytes().to_vec();
        self
    }
}

#[test]
fn pieces_say_where_they_come_from() {
    let guessed = of("/x/{A}");
    assert_eq!(guessed.container_id.map(|id| id.origin()), Some(Origin::Guess));
    let known = of("/docker/{A}");
    assert_eq!(known.container_id.map(|id| id.origin()), Some(Origin::Path));
}

#[test]
fn a_container_keeps_what_is_above_it() {
    let quadlet = of("/system.slice/web.service/libpod-payload-{A}");
    assert_eq!((text(&quadlet.unit), text(&quadlet.slice)), (Some("web.service"), Some("system.slice")));
    assert_eq!((quadlet.engine, quadlet.user, quadlet.user_manager), (Engine::Podman, None, false));

    let rootless = of("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container");
    assert_eq!((rootless.user, rootless.user_manager), (Some(1000), true));
    assert_eq!((text(&rootless.container_id), rootless.role), (Some(A), Role::Payload));
    assert!(rootless.path.ends_with(b".scope"), "{}", rootless.path.escape_ascii());

    let pod = of("/libpod_parent/{B}/libpod-{A}");
    assert_eq!((text(&pod.pod_id), text(&pod.container_id)), (Some(B), Some(A)));
}

#[test]
fn what_a_container_names_does_not_change_what_is_around_it() {
    let nested = of("/docker/{A}/user.slice/user-0.slice/user@0.service/docker-{B}.scope");
    assert_eq!((text(&nested.container_id), nested.user), (Some(B), Some(0)));
    let outer = nested.outer.expect("a container around it");
    assert_eq!((text(&outer.container_id), outer.user, outer.user_manager), (Some(A), None, false));
    assert_eq!(outer.path, path("/docker/{A}").as_bytes());
}

#[test]
fn a_user_cannot_become_another_one() {
    let workload = of("/user.slice/user-1000.slice/user@1000.service/user-0.slice/user@0.service/a.service");
    assert_eq!((workload.user, workload.user_manager), (Some(1000), true));
    assert!(workload.label().starts_with(b"user 1000 unit "), "{}", workload.label().escape_ascii());

    let service = of("/system.slice/a.service/user-0.slice/user@0.service/b.service");
    assert_eq!((service.user, service.user_manager, text(&service.unit)), (None, false, Some("a.service")));
}

#[test]
fn containers_nested_without_end_are_cut_off() {
    let path = "/runc-a.scope".repeat(100_000);
    let workload = Workload::of_path(path.as_bytes());
    assert_eq!(workload.label(), ["runc/a"; 9].join(" in ").as_bytes());
    assert_eq!(workload.path, "/runc-a.scope".repeat(9).as_bytes());
}

#[test]
fn a_name_has_an_owner_if_that_could_have_made_it_up() {
    for (pattern, owner) in [
        ("/docker/{A}", None),
        ("/system.slice/docker-{A}.scope/x/y.service", None),
        ("/libpod_parent/{B}/libpod-{A}", None),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", None),
        ("/kubepods/burstable/pod{UID}/{A}", None),
        ("/kubepods.slice/kubepods-pod{SLICE_UID}.slice/cri-containerd-{A}.scope", None),
        ("/default/{A}", None),
        ("/lxc/101", None),
        ("/lxc.payload.web", None),
        ("/system.slice/nginx.service/worker", None),
        ("/user.slice/user-1000.slice/user@1000.service", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/jobs/nightly", None),
        ("/system.slice/nginx.service/docker-{A}.scope", Some("/system.slice/nginx.service")),
        ("/system.slice/nginx.service/docker/{A}", Some("/system.slice/nginx.service")),
        (
            "/user.slice/user-1000.slice/session-3.scope/libpod-{A}.scope",
            Some("/user.slice/user-1000.slice/session-3.scope"),
        ),
        ("/jobs/{A}", Some("/jobs")),
        ("/jobs/docker/{A}", Some("/jobs")),
        ("/jobs/x/nginx.service", Some("/jobs")),
        ("/jobs/lxc.payload.web", Some("/jobs")),
        ("/jobs/kubepods-pod{SLICE_UID}.slice/crio-{A}.scope", Some("/jobs")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
            Some("/user.slice/user-1000.slice/user@1000.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope",
            Some("/user.slice/user-1000.slice/user@1000.service"),
        ),
    ] {
        let owner_of = |workload: Workload| workload.owner.map(|owner| owner.path.escape_ascii().to_string());
        assert_eq!(owner_of(of(pattern)).as_deref(), owner, "{pattern}");
        // What is in a container has that around it.
        let nested = of(&format!("{pattern}/docker/{{B}}"));
        if let Some(outer) = nested.outer.clone() {
            assert_eq!(nested.owner, None, "{pattern}");
            assert_eq!(owner_of(*outer).as_deref(), owner, "{pattern}");
        }
    }
}
