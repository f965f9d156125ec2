//! `knobgate unhook`, on the files of a machine in a directory. `.ci/systemd` has the package do it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::{knobgate, tree};

fn unhook(root: &Path) -> Output {
    knobgate(["unhook", "--root"]).arg(root).output().unwrap()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

const HOOK: &str = include_str!("../../../../packaging/oci/hooks.d/knobgate.json");
const DOCKER: &str = r#"{ "runtimes": { "k\n": { "path": "/usr/bin/knobgate" } } }"#;

#[test]
fn what_runs_it_goes_and_all_else_stays() {
    let other = HOOK.replace("/usr/bin/knobgate", "/usr/local/bin/knobgate");
    let root = tree(&[
        ("etc/containers/oci/hooks.d/a.json", HOOK),
        ("etc/containers/oci/hooks.d/b.json", &other),
        ("etc/containers/oci/hooks.d/c.json", "no JSON: /usr/bin/knobgate"),
        ("etc/docker/daemon.json", DOCKER),
        ("etc/systemd/system/web.service.d/knobgate.conf", "# Made by knobgate systemd-dropin\n[Service]\n"),
        ("etc/systemd/system/web.service.d/other.conf", "# /usr/bin/knobgate\n[Service]\n"),
        (
            "etc/systemd/system/knobgate-agent.service.d/a.conf",
            "[Service]\nExecStart=/usr/bin/knobgate agent\n",
        ),
        ("etc/lxc/default.conf", "# lxc.hook.start-host = /usr/bin/knobgate\n"),
    ]);
    let hooks = root.path().join("etc/containers/oci/hooks.d");
    symlink("/usr/share/knobgate/hooks.d/knobgate.json", hooks.join("link.json")).unwrap();
    fs::set_permissions(root.path().join("etc/docker/daemon.json"), fs::Permissions::from_mode(0o640))
        .unwrap();

    let output = unhook(root.path());
    assert!(output.status.success(), "{output:?}");
    let left = [
        "etc/containers/oci/hooks.d/b.json",
        "etc/containers/oci/hooks.d/c.json",
        "etc/docker/daemon.json",
        "etc/docker/daemon.json.before-knobgate-unhook",
        "etc/lxc/default.conf",
        "etc/systemd/system/knobgate-agent.service.d/a.conf",
        "etc/systemd/system/web.service.d/other.conf",
    ];
    assert_eq!(files(root.path()), left.map(PathBuf::from));
    let read = |file: &str| fs::read_to_string(root.path().join(file)).unwrap();
    assert_eq!(read("etc/docker/daemon.json"), r#"{ "runtimes": { "k\n": {"path":"runc"} } }"#);
    assert_eq!(read("etc/docker/daemon.json.before-knobgate-unhook"), DOCKER);
    for file in ["daemon.json", "daemon.json.before-knobgate-unhook"] {
        let mode = root.path().join("etc/docker").join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{file}");
    }

    let again = unhook(root.path());
    assert!(again.status.success());
    assert_eq!(String::from_utf8_lossy(&again.stderr), "nothing runs /usr/bin/knobgate\n");
    assert_eq!(files(root.path()).len(), left.len());
}

#[test]
fn what_needs_it_is_named_and_then_nothing_changes() {
    let cases = [
        (
            "etc/containerd/config.toml",
            "x = 1\n  required_plugins = [\"knobgate\"]\n",
            ":2: remove this line: required_plugins",
        ),
        ("etc/crio/crio.conf.d/10.conf", "runtime_path = \"/usr/bin/knobgate\"\n", ":1: remove this line"),
        (
            "etc/containers/containers.conf",
            "hooks_dir = [\"/usr/share/knobgate/hooks.d\"]\n",
            ":1: remove this line",
        ),
        (
            "var/lib/lxc/web/config",
            "\u{1b}lxc.hook.post-stop = /usr/share/knobgate/lxc-hook stopped\n",
            "\\x1blxc.hook",
        ),
        (
            "etc/systemd/system/web.service",
            "[Service]\nExecStartPre=/usr/bin/knobgate check x\n",
            ":2: remove this line",
        ),
        (
            "etc/systemd/system/web.service.d/a.conf",
            "BPFProgram=sysctl:/sys/fs/bpf/knobgate/web/program\n",
            ":1: remove",
        ),
    ];
    for (file, text, expected) in cases {
        let root = tree(&[
            (file, text),
            ("etc/containers/oci/hooks.d/a.json", HOOK),
            ("etc/docker/daemon.json", DOCKER),
        ]);
        let before = files(root.path());
        let output = unhook(root.path());
        assert_eq!(output.status.code(), Some(1), "{file}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected) && said.contains(file), "{said}");
        assert!(
            said.ends_with("1 place needs knobgate, and only you can change that; nothing was changed\n"),
            "{said}"
        );
        assert_eq!(files(root.path()), before);
        assert_eq!(fs::read_to_string(root.path().join("etc/docker/daemon.json")).unwrap(), DOCKER);
    }
}

#[test]
fn containers_of_docker_that_run_with_it_are_named() {
    let container = |name: &str, runtime: &str, running: bool| {
        let directory = format!("var/lib/docker/containers/{name}");
        [
            (
                format!("{directory}/config.v2.json"),
                format!(r#"{{"Name":"/{name}","State":{{"Running":{running}}}}}"#),
            ),
            (format!("{directory}/hostconfig.json"), format!(r#"{{"Runtime":"{runtime}"}}"#)),
        ]
    };
    let mut owned = vec![("etc/docker/daemon.json".to_owned(), DOCKER.to_owned())];
    owned.extend(container("one", "k\\n", true));
    owned.extend(container("two", "k\\n", false));
    owned.extend(container("three", "runc", true));
    let files: Vec<(&str, &str)> = owned.iter().map(|(path, text)| (&**path, &**text)).collect();
    let root = tree(&files);
    let output = unhook(root.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "the container one of Docker runs with the runtime \"k\\n\", which Docker needs to stop it: docker stop one\n\
         1 place needs knobgate, and only you can change that; nothing was changed\n"
    );
}

#[test]
fn a_configuration_of_docker_that_is_no_json_is_not_changed() {
    for text in [r#"{ "runtimes": { "knobgate" "#, "knobgate", r#"{"runtimes":["knobgate"]}"#] {
        let root = tree(&[("etc/docker/daemon.json", text)]);
        let output = unhook(root.path());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("reload Docker"), "{output:?}");
        assert_eq!(files(root.path()), ["etc/docker/daemon.json"].map(PathBuf::from));
        assert_eq!(fs::read_to_string(root.path().join("etc/docker/daemon.json")).unwrap(), text);
    }
}

#[test]
fn a_plugin_that_runs_is_in_the_way_unless_it_is_the_unit_that_goes_with_the_package() {
    let process = |pid: u32, cgroup: &str| {
        let root = tree(&[
            (&format!("proc/{pid}/cmdline"), "knobgate\0nri\0"),
            (&format!("proc/{pid}/cgroup"), cgroup),
            ("etc/containers/oci/hooks.d/a.json", HOOK),
        ]);
        symlink("/usr/bin/knobgate (deleted)", root.path().join(format!("proc/{pid}/exe"))).unwrap();
        let output = unhook(root.path());
        let removed = !root.path().join("etc/containers/oci/hooks.d/a.json").exists();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), removed)
    };
    let (status, said, removed) = process(7, "0::/user.slice/x.scope\n");
    assert!(status == Some(1) && !removed && said.starts_with("process 7 is `knobgate nri`"), "{said}");
    let (status, said, removed) = process(8, "1:name=systemd:/\n0::/system.slice/knobgate-nri.service\n");
    assert!(status == Some(0) && removed, "{said}");
    assert!(said.contains("systemctl disable --now knobgate-nri"), "{said}");
}
