//! Which workload somebody means by a name.

#[cfg(feature = "state")]
mod by_state {
    use knobgate_workload::{EngineState, NameMatch, Workload, WorkloadName};

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    const DOCKER: &str = "f31f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
    const POD: &str = "/kubepods.slice/kubepods-burstable.slice/\
                       kubepods-burstable-pod2f1a3b4c_5d6e_7f80_91a2_b3c4d5e6f708.slice";
    const CRI: &str = "dcec88ba422f000e6d1afc9c9c1f01347a1db160ba40e597340c3b6e2076501b";

    fn matches(name: &WorkloadName, path: &str) -> Option<NameMatch> {
        let mut workload = Workload::of_path(path.as_bytes());
        EngineState::below(FIXTURES).complete(&mut workload);
        name.matches(&workload)
    }

    #[test]
    fn a_container_has_a_name_an_id_and_the_beginning_of_that() {
        let path = format!("/docker/{DOCKER}");
        for (name, expected) in [
            (DOCKER, Some(NameMatch::Id)),
            ("shop-web-1", Some(NameMatch::Name)),
            ("docker/shop-web-1", Some(NameMatch::Name)),
            ("f31f384749f9", Some(NameMatch::IdPrefix)),
            ("f", Some(NameMatch::IdPrefix)),
            ("F31F", None),
            ("", None),
            ("shop-web", None),
            ("podman/shop-web-1", None),
            ("docker", None),
        ] {
            assert_eq!(matches(&WorkloadName::Container(name.to_owned()), &path), expected, "{name}");
        }
        // Ids that are names have no beginnings.
        for (name, expected) in
            [("web", Some(NameMatch::Id)), ("we", None), ("runc/web", Some(NameMatch::Name))]
        {
            assert_eq!(matches(&WorkloadName::Container(name.to_owned()), "/c1"), expected, "{name}");
        }
    }

    #[test]
    fn a_pod_is_a_name_of_its_containers() {
        let pod = WorkloadName::pod("prod/web-7d4b9").expect("a pod");
        assert_eq!(matches(&pod, &format!("{POD}/cri-containerd-{CRI}.scope")), Some(NameMatch::Name));
        assert_eq!(matches(&pod, POD), None, "no file says what the pod is called");
        let other = WorkloadName::pod("test/web-7d4b9").expect("a pod");
        assert_eq!(matches(&other, &format!("{POD}/cri-containerd-{CRI}.scope")), None);
        let container = WorkloadName::Container("k8s/prod/web-7d4b9/nginx".to_owned());
        assert_eq!(matches(&container, &format!("{POD}/cri-containerd-{CRI}.scope")), Some(NameMatch::Name));
    }
}

use knobgate_workload::{NameMatch, Workload, WorkloadName};

#[test]
fn a_unit_may_be_called_without_its_type() {
    for (name, path, expected) in [
        ("nginx", "/system.slice/nginx.service", true),
        ("nginx.service", "/system.slice/nginx.service", true),
        ("nginx.service", "/system.slice/nginx.service/worker", true),
        ("nginx.socket", "/system.slice/nginx.service", false),
        ("getty@tty1", "/system.slice/system-getty.slice/getty@tty1.service", true),
        (r"a\x2db", r"/system.slice/a\x2db.service", true),
        ("system.slice", "/system.slice", true),
        ("system.slice", "/system.slice/nginx.service", false),
        ("session-3.scope", "/user.slice/user-1000.slice/session-3.scope", true),
        ("ngin", "/system.slice/nginx.service", false),
        ("", "/jobs/nightly", false),
        ("nightly", "/jobs/nightly", false),
    ] {
        let matched = WorkloadName::unit(name).matches(&Workload::of_path(path.as_bytes()));
        assert_eq!(matched, expected.then_some(NameMatch::Name), "{name} {path}");
    }
}

#[test]
fn the_scope_of_a_container_is_a_unit_and_a_monitor_has_no_name() {
    let id = "a".repeat(64);
    let scope = format!("libpod-{id}.scope");
    let container = Workload::of_path(format!("/machine.slice/{scope}").as_bytes());
    assert_eq!(WorkloadName::unit(&scope).matches(&container), Some(NameMatch::Name));
    let monitor = Workload::of_path(format!("/machine.slice/libpod-conmon-{id}.scope").as_bytes());
    let names = [WorkloadName::unit(&format!("libpod-conmon-{id}.scope")), WorkloadName::Container(id)];
    for name in names {
        assert_eq!(name.matches(&monitor), None, "{name}");
    }
}

#[test]
fn a_pod_is_a_namespace_and_a_name() {
    for (text, is_pod) in
        [("prod/web", true), ("web", false), ("/web", false), ("prod/", false), ("a/b/c", false), ("", false)]
    {
        assert_eq!(WorkloadName::pod(text).is_some(), is_pod, "{text}");
    }
}
