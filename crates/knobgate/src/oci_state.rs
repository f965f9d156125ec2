//! What an OCI runtime tells its hooks about a container: the state on their standard input, and the bundle.
//!
//! See "State" in runtime.md, and config.md, of the [OCI runtime specification](https://github.com/opencontainers/runtime-spec).

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use serde::Deserialize;

use crate::container_error::ContainerError;

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct OciState {
    /// Its id, which is unique among the containers of its runtime.
    pub id: String,
    /// How far it is.
    pub status: OciStatus,
    /// Its first process; `None` if there is none.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The directory of its bundle.
    pub bundle: PathBuf,
    /// Its annotations.
    #[serde(default)]
    pub annotations: HashMap<String, String>,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OciStatus {
    /// It is being created. Nothing of it runs.
    Creating,
    /// It is created. Nothing of it runs.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Stopped,
}

/// What a container's bundle says, as far as a policy has to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OciBundle {
    /// The knobs that the runtime writes when it makes the container, from inside of it: `linux.sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// The cgroup that it asks for: `linux.cgroupsPath`.
    pub cgroups_path: Option<String>,
    /// Whether it has a user namespace of its own.
    pub user_namespace: bool,
    /// Its annotations.
    pub annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    linux: Linux,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(default)]
    sysctl: Option<BTreeMap<String, String>>,
    #[serde(default)]
    cgroups_path: Option<String>,
    #[serde(default)]
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
}

impl OciState {
    /// The most bytes that a state may have. Kubernetes allows a pod 256 KiB of annotations.
    pub const BYTES_MAX: usize = 4 << 20;

    /// Reads it to its end.
    ///
    /// # Errors
    ///
    /// [`ContainerError::State`]: it cannot be read, is too large, or is not the state of a container.
    pub fn read(from: impl Read) -> Result<Self, ContainerError> {
        let failed = |why: String| ContainerError::State { why };
        let mut bytes = Vec::new();
        from.take(Self::BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(format!("cannot read it: {error}")))?;
        if bytes.len() > Self::BYTES_MAX {
            return Err(failed(format!("it has more than {} MiB", Self::BYTES_MAX >> 20)));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(failed("there is none".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }
}

impl OciBundle {
    /// The most bytes that a `config.json` may have.
    pub const CONFIG_BYTES_MAX: u64 = 16 << 20;

    /// Reads `config.json` in the directory of a bundle.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Bundle`]: it cannot be read, is too large, or is not the configuration of a container.
    pub fn read(directory: &Path) -> Result<Self, ContainerError> {
        let path = directory.join("config.json");
        let failed = |why: String| ContainerError::Bundle { path: path.clone(), why };
        // Opening a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = open(&path, flags, Mode::empty()).map_err(|error| failed(error.to_string()))?;
        let kind = fstat(&file).map_err(|error| failed(error.to_string()))?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::RegularFile {
            return Err(failed("it is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(Self::CONFIG_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 > Self::CONFIG_BYTES_MAX {
            return Err(failed(format!("it has more than {} MiB", Self::CONFIG_BYTES_MAX >> 20)));
        }
        Self::parse(&bytes).map_err(|error| failed(error.to_string()))
    }

    fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let Config { linux, annotations } = serde_json::from_slice(bytes)?;
        let namespaces = linux.namespaces.unwrap_or_default();
        Ok(Self {
            sysctls: linux.sysctl.unwrap_or_default(),
            cgroups_path: linux.cgroups_path.filter(|path| !path.is_empty()),
            user_namespace: namespaces.iter().any(|namespace| namespace.kind == "user"),
            annotations: annotations.unwrap_or_default(),
        })
    }
}

/// The bytes of a path.
pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read() {
        let runc = r#"{"ociVersion":"1.0.2-dev","id":"web","status":"creating","pid":4711,"bundle":"/b",
            "annotations":{"a.b/c":"d"}}"#;
        let state = OciState::read(runc.as_bytes()).unwrap();
        assert_eq!((&*state.id, state.status, state.pid), ("web", OciStatus::Creating, Some(4711)));
        assert_eq!(state.annotations.get("a.b/c").map(String::as_str), Some("d"));
        let stopped = r#"{"ociVersion":"1.0.2","id":"web","status":"stopped","bundle":"/b"}"#;
        let state = OciState::read(stopped.as_bytes()).unwrap();
        assert_eq!((state.status, state.pid, state.annotations.len()), (OciStatus::Stopped, None, 0));
    }

    #[test]
    fn what_is_not_a_state_is_an_error_in_one_line() {
        let huge = vec![b' '; OciState::BYTES_MAX + 1];
        for (text, expected) in [
            (&b""[..], "there is none"),
            (b" \n", "there is none"),
            (b"{", "EOF while parsing an object at line 1 column 1"),
            (b"{}", "missing field `id` at line 1 column 2"),
            (b"[]", "invalid length 0"),
            (br#"{"id":"x","status":"dead","bundle":"/b"}"#, "unknown variant `dead`"),
            (br#"{"id":"x","status":"created","bundle":"/b","pid":-1}"#, "invalid value: integer `-1`"),
            (&huge, "it has more than 4 MiB"),
        ] {
            let error = OciState::read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_bundle_is_read() {
        let config = r#"{"ociVersion":"1.0.2","process":{},"linux":{"sysctl":{"net.ipv4.ip_forward":"1"},
            "cgroupsPath":"/x/c1","namespaces":[{"type":"pid"},{"type":"user"}],"unknown":1}}"#;
        let bundle = OciBundle::parse(config.as_bytes()).unwrap();
        assert_eq!(bundle.sysctls["net.ipv4.ip_forward"], "1");
        assert_eq!((bundle.cgroups_path.as_deref(), bundle.user_namespace), (Some("/x/c1"), true));
        for empty in ["{}", r#"{"linux":{}}"#, r#"{"linux":{"sysctl":null,"cgroupsPath":""}}"#] {
            assert_eq!(OciBundle::parse(empty.as_bytes()).unwrap(), OciBundle::default());
        }
        let directory = tempfile::tempdir().unwrap();
        let missing = OciBundle::read(directory.path()).unwrap_err().to_string();
        assert!(missing.contains("config.json: No such file or directory"), "{missing}");
        std::fs::create_dir(directory.path().join("config.json")).unwrap();
        assert!(OciBundle::read(directory.path()).unwrap_err().to_string().contains("it is not a file"));
    }
}
