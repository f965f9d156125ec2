//! Names from the state of engines. The files in `fixtures` look like those of the engines.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use knobgate_workload::{Engine, EngineState, OciContainer, Origin, Piece, Workload};
use proptest::prelude::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

const DOCKER: &str = "f31f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
const DOCKER_IN_POD: &str = "19b3caf6a2c637a597f2d7bff147d93292d6eed0c25ac15f2da8e99d719ea348";
const DOCKER_ELSEWHERE: &str = "b6f3a917663d13d697296050b780403f503564f37bc44482fa2d4a03e422df72";
const PODMAN: &str = "f9d688036191e04636c64024ce221730446495d6568b72e14d6ebc8aa23e434f";
const CRI: &str = "dcec88ba422f000e6d1afc9c9c1f01347a1db160ba40e597340c3b6e2076501b";
const SANDBOX: &str = "e08f27c78966e257ff7318edddf12f9d4480cb94e7c6e2714341ddd165e937fd";
const NERDCTL: &str = "b3609a4addd18ad909597aa9711bf1630d31a269631d574c18a4cecade83738f";
const PLAIN: &str = "a116c9ed46d6207734a43317d30fd88f52ac8634c37d904bbf4e41d865f90475";
const CRIO: &str = "9689413a5a09c74fc99b598f6c28096cc8a94018930db76b0a230d72259fa57b";
const POD: &str = "/kubepods.slice/kubepods-burstable.slice/\
                   kubepods-burstable-pod2f1a3b4c_5d6e_7f80_91a2_b3c4d5e6f708.slice";

/// The workload of `path` by the state below `root`, and whether a later call cannot find more.
fn resolve(root: &Path, path: &str) -> (Workload, bool) {
    let mut workload = Workload::of_path(path.as_bytes());
    let complete = EngineState::below(root).complete(&mut workload);
    (workload, complete)
}

fn label(root: &Path, path: &str) -> String {
    String::from_utf8(resolve(root, path).0.label()).expect("text")
}

fn text(piece: &Option<Piece>) -> Option<&str> {
    piece.as_ref().map(|piece| str::from_utf8(piece.bytes()).expect("text"))
}

#[test]
fn each_engine_has_names_for_its_containers() {
    let cases = [
        (format!("/docker/{DOCKER}"), "docker/shop-web-1"),
        (format!("/system.slice/docker-{DOCKER}.scope"), "docker/shop-web-1"),
        (format!("{POD}/docker-{DOCKER_IN_POD}.scope"), "k8s/prod/web-7d4b9/nginx"),
        (format!("/kubepods/burstable/pod2f1a3b4c/{DOCKER_IN_POD}"), "k8s/prod/web-7d4b9/nginx"),
        (format!("/jobs/{DOCKER_ELSEWHERE}"), "docker/batch"),
        (format!("/jobs/{DOCKER}"), "docker/shop-web-1"),
        (format!("/machine.slice/libpod-{PODMAN}.scope/container"), "podman/web"),
        (format!("/machine.slice/libpod-conmon-{PODMAN}.scope"), "monitor of podman/web"),
        ("/jobs/nightly".to_owned(), "podman/nightly-job"),
        ("/jobs/nightly/below".to_owned(), "podman/nightly-job"),
        (format!("{POD}/cri-containerd-{CRI}.scope"), "k8s/prod/web-7d4b9/nginx"),
        (format!("/kubepods/burstable/pod2f1a3b4c/{CRI}"), "k8s/prod/web-7d4b9/nginx"),
        (format!("/k8s.io/{CRI}"), "k8s/prod/web-7d4b9/nginx"),
        (format!("{POD}/cri-containerd-{SANDBOX}.scope"), "k8s/prod/web-7d4b9/e08f27c78966"),
        (format!("/system.slice/nerdctl-{NERDCTL}.scope"), "nerdctl/db"),
        (format!("/default/{NERDCTL}"), "nerdctl/db"),
        (format!("/elsewhere/{NERDCTL}"), "nerdctl/db"),
        (format!("{POD}/crio-{CRIO}.scope/container"), "k8s/prod/web-7d4b9/nginx"),
        ("/c1".to_owned(), "runc/web"),
        ("/c2/below".to_owned(), "runc/old"),
        ("/default/redis".to_owned(), "containerd/default/redis"),
        ("/system.slice/shop-job.scope".to_owned(), "crun/job"),
    ];
    for (path, expected) in cases {
        let (workload, complete) = resolve(Path::new(FIXTURES), &path);
        assert_eq!(workload.label(), expected.as_bytes(), "{path}: {workload:?}");
        let by_runtime_alone = matches!(workload.engine, Engine::Runc | Engine::Crun | Engine::Containerd);
        assert!(complete || by_runtime_alone && workload.container_name.is_none(), "{path}: {workload:?}");
    }
}

#[test]
fn pieces_from_the_state_say_so() {
    let (workload, _) = resolve(Path::new(FIXTURES), &format!("/docker/{DOCKER}"));
    assert_eq!(text(&workload.image), Some("nginx:1.27"));
    assert_eq!((text(&workload.project), text(&workload.service)), (Some("shop"), Some("web")));
    assert_eq!(workload.container_id.map(|id| id.origin()), Some(Origin::Path));
    assert_eq!(workload.container_name.map(|name| name.origin()), Some(Origin::State));

    let (workload, _) = resolve(Path::new(FIXTURES), &format!("/machine.slice/libpod-{PODMAN}.scope"));
    assert_eq!(text(&workload.image), Some("docker.io/library/nginx:latest"));
    let (workload, _) = resolve(Path::new(FIXTURES), &format!("{POD}/crio-{CRIO}.scope"));
    assert_eq!(text(&workload.image), Some("docker.io/library/nginx:1.27"));
}

#[test]
fn labels_are_known_only_where_the_state_has_all_of_them() {
    let of = |root: &Path, path: String| resolve(root, &path).0.labels;
    let docker = of(Path::new(FIXTURES), format!("/docker/{DOCKER}"));
    assert_eq!(docker.get(b"maintainer"), Some(&b"NGINX Docker Maintainers"[..]));
    assert_eq!(docker.get(b"app"), Some(&b""[..]));
    // The pod's own labels are elsewhere.
    let in_pod = of(Path::new(FIXTURES), format!("{POD}/docker-{DOCKER_IN_POD}.scope"));
    assert_eq!(in_pod.get(b"io.kubernetes.pod.name"), Some(&b"web-7d4b9"[..]));
    assert_eq!(in_pod.get(b"app"), None);
    let containerd = of(Path::new(FIXTURES), format!("{POD}/cri-containerd-{CRI}.scope"));
    assert_eq!(containerd.get(b"app"), None);
    let unread = of(Path::new("/missing"), format!("/docker/{DOCKER}"));
    assert_eq!(unread.get(b"app"), None);
    let large = with_docker(|file| {
        let config = format!(r#"{{"Name":"/web","Config":{{"Labels":{{"a":"{}"}}}}}}"#, "x".repeat(1 << 17));
        fs::write(file, config).expect("a file");
    });
    assert_eq!(of(large.path(), format!("/docker/{DOCKER}")).get(b"b"), None);
}

#[test]
fn the_labels_of_a_pod_of_crio_are_those_of_its_sandbox() {
    let root = tempfile::tempdir().expect("a directory");
    let write = |id: &str, annotations: &str| {
        let containers = "var/lib/containers/storage/overlay-containers";
        let directory = root.path().join(containers).join(id).join("userdata");
        fs::create_dir_all(&directory).expect("a directory");
        let config = format!(r#"{{"annotations":{{{annotations}}}}}"#);
        fs::write(directory.join("config.json"), config).expect("a file");
    };
    let label = |key: &[u8]| {
        let (workload, _) = resolve(root.path(), &format!("{POD}/crio-{CRIO}.scope"));
        workload.labels.get(key).map(|value| String::from_utf8_lossy(value).into_owned())
    };
    write(
        CRIO,
        &format!(
            r#""io.kubernetes.container.name":"nginx","io.kubernetes.cri-o.SandboxID":"{SANDBOX}",
            "io.kubernetes.cri-o.Labels":"{{\"io.kubernetes.container.name\":\"nginx\"}}""#
        ),
    );
    assert_eq!((label(b"io.kubernetes.container.name").as_deref(), label(b"app")), (Some("nginx"), None));
    write(SANDBOX, r#""io.kubernetes.cri-o.Labels":"{\"app\":\"web\"}""#);
    assert_eq!((label(b"app").as_deref(), label(b"tier").as_deref()), (Some("web"), Some("")));
}

#[test]
fn an_image_or_a_plain_container_cannot_pose_as_a_pod() {
    let (workload, _) = resolve(Path::new(FIXTURES), &format!("/docker/{DOCKER}"));
    assert_eq!((workload.pod_name, workload.namespace), (None, None));
    let (workload, _) = resolve(Path::new(FIXTURES), &format!("/default/{PLAIN}"));
    assert_eq!((&workload.pod_name, &workload.container_name), (&None, &None));
    assert_eq!(workload.label(), b"containerd/default/a116c9ed46d6");
}

#[test]
fn a_container_that_starts_is_of_the_runtime_that_has_its_id() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["run/crun/web", "run/crun/both", "run/runc/both", "run/runc/old"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let annotations = HashMap::new();
    let engine = |path: &str, id: &str| {
        let container = OciContainer { id, bundle: b"/b", annotations: &annotations, cgroups_path: None };
        let mut workload = Workload::of_oci(path.as_bytes(), &container);
        EngineState::below(root.path()).find_runtime(&mut workload);
        workload.engine
    };
    assert_eq!(engine("/x/web", "web"), Engine::Crun);
    for id in ["both", "old", "other", "..", ".", "web/", ""] {
        assert_eq!(engine("/x/web", id), Engine::Runc, "{id}");
    }
    assert_eq!(engine("/lxc.payload.web", "web"), Engine::Lxc);
}

#[test]
fn cgroups_that_others_name_do_not_get_the_name_of_a_container() {
    let user = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    let root = Path::new(FIXTURES);
    for (path, expected) in [
        (format!("{user}/docker-{DOCKER}.scope"), "docker/f31f384749f9"),
        (format!("{user}/{DOCKER}"), "container/f31f384749f9"),
        (format!("/docker/{CRI}/docker/{DOCKER}"), "docker/f31f384749f9 in docker/dcec88ba422f"),
        (format!("/docker/{DOCKER}/docker/{DOCKER}"), "docker/f31f384749f9 in docker/shop-web-1"),
        (format!("/docker/{DOCKER}/c1"), "docker/shop-web-1"),
        // A runtime has it in /jobs.
        (format!("/system.slice/other.service/docker-{DOCKER_ELSEWHERE}.scope"), "docker/b6f3a917663d"),
        (format!("/system.slice/other.service/{DOCKER_ELSEWHERE}"), "container/b6f3a917663d"),
        (format!("/jobs/{DOCKER_ELSEWHERE}/init"), "docker/batch"),
    ] {
        assert_eq!(label(root, &path), expected, "{path}");
    }
    let own_scope = tempfile::tempdir().expect("a directory");
    let status = own_scope.path().join("run/crun").join(PODMAN);
    fs::create_dir_all(&status).expect("a directory");
    fs::write(
        status.join("status"),
        format!(r#"{{"cgroup-path":"/machine.slice/libpod-{PODMAN}.scope/container"}}"#),
    )
    .expect("a file");
    let storage = own_scope.path().join("var/lib/containers/storage/overlay-containers");
    fs::create_dir_all(&storage).expect("a directory");
    fs::write(storage.join("containers.json"), format!(r#"[{{"id":"{PODMAN}","names":["web"]}}]"#))
        .expect("a file");
    for (path, expected) in [
        (format!("/machine.slice/libpod-{PODMAN}.scope"), "podman/web"),
        (format!("/machine.slice/libpod-{PODMAN}.scope/container/x"), "podman/web"),
        (format!("/x/libpod-{PODMAN}.scope"), "podman/f9d688036191"),
        (format!("/machine.slice/libpod-conmon-{PODMAN}.scope"), "monitor of podman/web"),
    ] {
        assert_eq!(label(own_scope.path(), &path), expected, "{path}");
    }
}

#[test]
fn a_container_of_incus_or_lxd_has_its_project() {
    let root = tempfile::tempdir().expect("a directory");
    let pools = root.path().join("var/lib/incus/storage-pools");
    for (place, container) in [
        ("var/lib/incus/containers", "shop_web"),
        ("var/lib/incus/containers", "api"),
        ("var/snap/lxd/common/lxd/containers", "a_b_db"),
    ] {
        fs::create_dir_all(root.path().join(place)).expect("a directory");
        symlink(pools.join(container), root.path().join(place).join(container)).expect("a link");
    }
    fs::create_dir_all(root.path().join("var/lib/lxc/my_web")).expect("a directory");
    for (path, expected) in [
        ("/lxc.payload.shop_web", "incus/shop/web"),
        ("/lxc.monitor.shop_web", "monitor of incus/shop/web"),
        ("/lxc.payload.api", "incus/api"),
        ("/lxc.payload.a_b_db/init.scope", "unit init.scope in lxd/a_b/db"),
        ("/lxc.payload.my_web", "lxc/my_web"),
        ("/lxc.payload.unknown_web", "lxc/unknown_web"),
    ] {
        assert_eq!(label(root.path(), path), expected, "{path}");
    }
}

#[test]
fn only_what_can_still_get_a_name_is_worth_another_call() {
    let root = tempfile::tempdir().expect("a directory");
    for (path, complete) in [
        (format!("/docker/{DOCKER}"), false),
        (format!("{POD}/cri-containerd-{CRI}.scope"), false),
        ("/c1".to_owned(), false),
        ("/system.slice/shop-job.scope".to_owned(), false),
        ("/system.slice/nginx.service".to_owned(), true),
        (POD.to_owned(), true),
        ("/user.slice/user-1000.slice/user@1000.service/x.scope".to_owned(), true),
    ] {
        assert_eq!(resolve(root.path(), &path).1, complete, "{path}");
    }
}

/// A root with the configuration of one Docker container.
fn with_docker(make: impl FnOnce(&Path)) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("var/lib/docker/containers").join(DOCKER);
    fs::create_dir_all(&directory).expect("a directory");
    make(&directory.join("config.v2.json"));
    root
}

#[test]
fn symbolic_links_are_followed_to_the_engines_directory_and_no_further() {
    let real = Path::new(FIXTURES).join("var/lib/docker/containers").join(DOCKER);
    let path = format!("/docker/{DOCKER}");
    let without_name = "docker/f31f384749f9";

    let linked_file = with_docker(|file| symlink(real.join("config.v2.json"), file).expect("a link"));
    assert_eq!(label(linked_file.path(), &path), without_name);

    let linked_container = with_docker(|file| {
        let directory = file.parent().expect("a directory");
        fs::remove_dir(directory).expect("it is empty");
        symlink(&real, directory).expect("a link");
    });
    assert_eq!(label(linked_container.path(), &path), without_name);

    // The administrator's link is followed, and leads to the same root.
    let moved = with_docker(|file| {
        fs::copy(real.join("config.v2.json"), file).expect("a copy");
    });
    fs::create_dir(moved.path().join("data")).expect("a directory");
    fs::rename(moved.path().join("var/lib/docker"), moved.path().join("data/docker")).expect("it moves");
    symlink("/data/docker", moved.path().join("var/lib/docker")).expect("a link");
    assert_eq!(label(moved.path(), &path), "docker/shop-web-1");

    let outside = with_docker(|_| ());
    fs::remove_dir_all(outside.path().join("var/lib/docker")).expect("it goes");
    symlink(Path::new(FIXTURES).join("var/lib/docker"), outside.path().join("var/lib/docker"))
        .expect("a link");
    assert_eq!(label(outside.path(), &path), without_name);
}

#[test]
fn a_file_that_cannot_be_read_means_no_name() {
    let path = format!("/docker/{DOCKER}");
    let with = |contents: &[u8]| with_docker(|file| fs::write(file, contents).expect("a file"));
    let large = [br#"{"Name":"/web","Config":{"Image":""#, &[b'x'; 2 << 20][..], br#""}}"#].concat();
    let deep = [b'['; 100_000];
    for contents in
        [&b""[..], b"{", b"null", b"[]", br#"{"Name":1}"#, b"{\"Name\":\"/a\xff\"}", &large, &deep]
    {
        assert_eq!(label(with(contents).path(), &path), "docker/f31f384749f9");
    }
    for name in ["/", "/a b", "/a/b", "/in docker/x", "/\\u001b[2J", "/..", &format!("/{}", "x".repeat(300))]
    {
        let root = with(format!(r#"{{"Name":"{name}","Config":null}}"#).as_bytes());
        assert_eq!(label(root.path(), &path), "docker/f31f384749f9", "{name}");
    }

    let directory = with_docker(|file| fs::create_dir(file).expect("a directory"));
    assert_eq!(label(directory.path(), &path), "docker/f31f384749f9");
    // Nobody writes to it.
    let pipe = with_docker(|file| {
        let made = std::process::Command::new("mkfifo").arg(file).status().expect("mkfifo");
        assert!(made.success());
    });
    assert_eq!(label(pipe.path(), &path), "docker/f31f384749f9");
    assert_eq!(label(Path::new("/missing"), &path), "docker/f31f384749f9");
}

#[test]
fn a_new_container_of_a_runtime_takes_the_place_of_an_old_one() {
    let root = tempfile::tempdir().expect("a directory");
    let mut state = EngineState::below(root.path());
    let mut named = |path: &str| {
        let mut workload = Workload::of_path(path.as_bytes());
        state.complete(&mut workload);
        String::from_utf8(workload.label()).expect("text")
    };
    let directory = root.path().join("run/runc/web");
    let start = |cgroup: &str| {
        fs::create_dir_all(&directory).expect("a directory");
        let state = format!(r#"{{"id":"web","config":{{}},"cgroup_paths":{{"":"/sys/fs/cgroup{cgroup}"}}}}"#);
        fs::write(directory.join("state.json"), state).expect("a file");
    };
    assert_eq!(named("/first"), "cgroup /first");
    fs::create_dir_all(&directory).expect("a directory");
    assert_eq!(named("/first"), "cgroup /first");
    start("/first");
    assert_eq!(named("/first"), "runc/web");

    // Keep the old inode in use, so that the new directory has another one.
    let old = root.path().join("old");
    fs::rename(&directory, &old).expect("it moves");
    assert_eq!(named("/first"), "cgroup /first");
    start("/second");
    assert_eq!((named("/first"), named("/second")), ("cgroup /first".to_owned(), "runc/web".to_owned()));
}

/// The fixtures, each with a path that leads to it.
fn fixtures() -> Vec<(PathBuf, String)> {
    let storage = "var/lib/containers/storage/overlay-containers";
    let tasks = "run/containerd/io.containerd.runtime.v2.task";
    [
        (format!("var/lib/docker/containers/{DOCKER}/config.v2.json"), format!("/docker/{DOCKER}")),
        (format!("{storage}/containers.json"), format!("/libpod_parent/libpod-{PODMAN}")),
        (format!("{tasks}/k8s.io/{CRI}/config.json"), format!("{POD}/cri-containerd-{CRI}.scope")),
        (format!("{tasks}/default/{NERDCTL}/config.json"), format!("/default/{NERDCTL}")),
        ("run/runc/web/state.json".to_owned(), "/c1".to_owned()),
        ("run/crun/job/status".to_owned(), "/system.slice/shop-job.scope".to_owned()),
        (
            format!("run/containers/storage/overlay-containers/{CRIO}/userdata/config.json"),
            format!("{POD}/crio-{CRIO}.scope"),
        ),
    ]
    .map(|(file, path)| (PathBuf::from(file), path))
    .into()
}

/// Names have no blanks and no slashes, whatever the files say, so that a label cannot be taken for another one.
fn check_label(root: &Path, path: &str) -> Result<(), TestCaseError> {
    let mut workload = Workload::of_path(path.as_bytes());
    EngineState::below(root).complete(&mut workload);
    for piece in [&workload.container_name, &workload.container_id, &workload.pod_name, &workload.namespace] {
        let bytes = piece.as_ref().map_or(&b"none"[..], Piece::bytes);
        let is_plain = bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/');
        prop_assert!(is_plain && !bytes.is_empty(), "{}", bytes.escape_ascii());
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_contents_of_a_file_do_harm(
        file in prop::sample::select(fixtures()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..3), 1..6),
    ) {
        let (file, path) = file;
        let mut contents = fs::read(Path::new(FIXTURES).join(&file)).expect("a fixture");
        for (index, byte, kind) in changes {
            let index = index.index(contents.len());
            match kind {
                0 => contents[index] = byte,
                1 => contents.insert(index, byte),
                _ if contents.len() > 1 => contents.truncate(index.max(1)),
                _ => {}
            }
        }
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, contents).expect("a file");
        check_label(root.path(), &path)?;
    }

    #[test]
    fn no_value_of_a_name_does_harm(file in prop::sample::select(fixtures()), value in ".{0,20}") {
        let (file, path) = file;
        let contents = fs::read_to_string(Path::new(FIXTURES).join(&file)).expect("a fixture");
        let value = value.replace(['"', '\\'], "?");
        let contents = ["nginx", "web", "db", "job"].iter().fold(contents, |text, name| {
            text.replace(&format!("\"{name}\""), &format!("\"{value}\""))
        });
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, contents).expect("a file");
        check_label(root.path(), &path)?;
    }
}

#[test]
fn the_bundle_of_a_container_of_podman_shows_where_its_name_is() {
    let root = tempfile::tempdir().expect("a directory");
    let moved = root.path().join("srv/podman/overlay-containers");
    fs::create_dir_all(&moved).expect("a directory");
    let list = format!("{FIXTURES}/var/lib/containers/storage/overlay-containers/containers.json");
    fs::copy(list, moved.join("containers.json")).expect("a list");
    let bundle = format!("/srv/podman/overlay-containers/{PODMAN}/userdata");
    for (bundle, expected) in [
        (Some(&*bundle), "podman/web"),
        (Some("/srv"), "podman/f9d688036191"),
        (Some("relative"), "podman/f9d688036191"),
        (None, "podman/f9d688036191"),
    ] {
        let mut workload = Workload::of_path(format!("/x/libpod-{PODMAN}").as_bytes());
        let known = EngineState::below(root.path()).add_names(&mut workload, bundle.map(Path::new));
        assert_eq!(String::from_utf8_lossy(&workload.label()), expected, "{bundle:?}");
        assert_eq!(known, expected == "podman/web", "{bundle:?}");
    }
}
