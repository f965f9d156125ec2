//! What no policy judges, wherever it is attached.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::finding::Finding;

/// Where container engines say which runtimes they have: files, and directories of files.
const CONFIGURATIONS: [&str; 6] = [
    "/etc/containerd/config.toml",
    "/etc/containerd/conf.d",
    "/etc/crio/crio.conf",
    "/etc/crio/crio.conf.d",
    "/etc/docker/daemon.json",
    "/etc/containers/containers.conf",
];
/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;
/// What the command or the type of a runtime has in it whose containers have a kernel of their own.
const OWN_KERNEL: [(&str, &str); 2] = [("runsc", "gVisor"), ("kata", "Kata Containers")];

pub(super) fn examine() -> Vec<Finding> {
    let never = Finding::ok("never judged", "CNI plugins, the kubelet, and what has a kernel of its own").so(
        "plugins and the kubelet write knobs from cgroups of the host, also those of a pod's network namespace: a policy on the pod \
         does not see that. What runs in gVisor, Kata Containers or another virtual machine has another /proc/sys",
    );
    let configured =
        CONFIGURATIONS.iter().flat_map(|path| files(Path::new(path))).flat_map(|path| own_kernels(&path));
    [never]
        .into_iter()
        .chain(configured.map(|found| {
            Finding::less(
                "own kernels",
                found,
                "no policy of this machine judges what runs in such containers",
            )
        }))
        .collect()
}

/// The file, or the files of the directory.
fn files(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => {
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            files
        }
        Err(_) => vec![path.to_owned()],
    }
}

/// The runtimes in a file whose containers have a kernel of their own, in words. A file that is not there, or that cannot be read,
/// has none.
fn own_kernels(path: &Path) -> Vec<String> {
    let is_small = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= BYTES_MAX);
    let Some(text) = is_small.then(|| fs::read_to_string(path).ok()).flatten() else { return Vec::new() };
    let parsed = serde_json::from_str(&text).ok().or_else(|| toml::from_str::<Value>(&text).ok());
    let mut found = Vec::new();
    if let Some(value) = &parsed {
        add_runtimes(value, &mut found);
    }
    found
        .iter()
        .map(|(name, kernel)| format!("{kernel} as the runtime \"{name}\" in {}", path.display()))
        .collect()
}

/// Adds the names of runtimes that have a kernel of their own, with that. All engines have a table `runtimes`, at different places.
fn add_runtimes(value: &Value, found: &mut Vec<(String, &'static str)>) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        match (key.as_str(), value) {
            ("runtimes", Value::Object(runtimes)) => {
                let with_own =
                    runtimes.iter().filter_map(|(name, one)| Some((name.clone(), own_kernel(one)?)));
                found.extend(with_own);
            }
            _ => add_runtimes(value, found),
        }
    }
}

/// The kernel that the containers of a runtime have: it has the name of that in its type or in the path of its command.
fn own_kernel(runtime: &Value) -> Option<&'static str> {
    let has = |text: &str| OWN_KERNEL.iter().find(|(part, _)| text.contains(part)).map(|(_, kernel)| *kernel);
    match runtime {
        Value::String(text) => has(text),
        // containers.conf has a list of paths.
        Value::Array(paths) => paths.iter().find_map(own_kernel),
        // The type of containerd and Docker, and the path of CRI-O and Docker.
        Value::Object(fields) => ["runtime_type", "runtimeType", "runtime_path", "path"]
            .iter()
            .find_map(|field| fields.get(*field)?.as_str().and_then(has)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_with_a_kernel_of_their_own_are_found_in_each_configuration() {
        for (text, expected) in [
            (
                "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runsc]\nruntime_type = \
                 \"io.containerd.runsc.v1\"\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \
                 \"io.containerd.runc.v2\"\n",
                &["gVisor as the runtime \"runsc\""][..],
            ),
            (
                "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.safe]\nruntime_type = \
                 'io.containerd.kata.v2'\n",
                &["Kata Containers as the runtime \"safe\""],
            ),
            (
                "[crio.runtime.runtimes.vm]\nruntime_path = \"/usr/bin/containerd-shim-kata-v2\"\n",
                &["Kata Containers as the runtime \"vm\""],
            ),
            (
                r#"{"runtimes": {"a": {"path": "/usr/bin/runsc"}, "b": {"runtimeType": "io.containerd.kata.v2"}, "c": {"path": "/crun"}}}"#,
                &["gVisor as the runtime \"a\"", "Kata Containers as the runtime \"b\""],
            ),
            (
                "[engine.runtimes]\nrunsc = [\"/usr/bin/runsc\"]\ncrun = [\"/usr/bin/crun\"]\n",
                &["gVisor as the runtime \"runsc\""],
            ),
            ("[runtimes", &[]),
            ("{\"runtimes\": 1, \"x\": {\"runtimes\": {\"a\": 1}}}", &[]),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(&file, text).unwrap();
            let expected: Vec<String> =
                expected.iter().map(|found| format!("{found} in {}", file.path().display())).collect();
            assert_eq!(own_kernels(file.path()), expected, "{text}");
        }
        assert_eq!(own_kernels(Path::new("/no/such/file")), [""; 0]);
    }
}
