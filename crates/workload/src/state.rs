//! Names from the state of engines.

mod containers_storage;
mod directory;
mod docker;
mod lxc;
mod names;
mod oci;
mod runtimes;

use std::path::{Path, PathBuf};

use crate::workload::{Engine, Role, Workload};
use directory::Directory;
use names::known_name;
use runtimes::{Place, Runtimes};

/// The state that engines keep in files, as far as they can be read.
///
/// It reads files and asks no daemon. A file that is missing, damaged, too large or a symbolic link means no name.
/// Where the engines' directories are symbolic links, these are followed as long as they do not lead out of the root.
///
/// It takes openat2(2), which Linux has since 5.6; where that is forbidden, there are no names.
///
/// ```no_run
/// use knobgate_workload::{EngineState, Workload};
///
/// let mut state = EngineState::below("/");
/// let mut workload = Workload::of_path(b"/docker/4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f");
/// state.complete(&mut workload);
/// println!("{}", workload.label().escape_ascii());
/// ```
#[derive(Debug)]
pub struct EngineState {
    root: PathBuf,
    runtimes: Runtimes,
}

impl EngineState {
    /// The state of the engines whose root directory this is: `/` for those of this machine.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), runtimes: Runtimes::default() }
    }

    /// Adds what the engine of the outermost container knows. Returns `false` if a later call may find more: an
    /// engine can write its state after it has created the cgroup.
    ///
    /// Only the outermost container is looked up, and only if it is not below a user's service manager, and no runtime has
    /// it in another cgroup: others could give their cgroups the name of a container that is not theirs. So the containers
    /// in a container keep their ids. If a runtime has the container in this cgroup, it has no [`owner`](Workload::owner).
    pub fn complete(&mut self, workload: &mut Workload) -> bool {
        let outermost = outermost_of(workload);
        if outermost.user_manager {
            return true;
        }
        match outermost.engine {
            Engine::None | Engine::Container => self.runtimes.complete(&self.root, outermost),
            // The scope of a container whose engine has its own name for it, such as `shop-web.scope`.
            Engine::Systemd if is_scope(outermost) => self.runtimes.complete(&self.root, outermost),
            Engine::Systemd => return true,
            _ => {}
        }
        // The cgroup of a monitor is another one.
        if outermost.role == Role::Payload {
            match self.runtimes.place(&self.root, outermost) {
                Some(Place::Elsewhere) => return true,
                // Whoever owns the cgroup above has not made this up.
                Some(Place::Here) => outermost.owner = None,
                None => {}
            }
        }
        self.add_names(outermost, None)
    }

    /// Tells a container of crun that is about to start from one of runc: its path and its bundle need not show which it is.
    pub fn find_runtime(&self, workload: &mut Workload) {
        let is_of_crun = |id: &[u8]| runtimes::is_of_crun(&self.root, id);
        if workload.engine == Engine::Runc && names::id(workload).is_some_and(is_of_crun) {
            workload.engine = Engine::Crun;
        }
    }

    /// Adds what the engine knows about a container of which the engine and the id are certain, as its runtime tells a hook; the
    /// directory of the bundle shows where Podman keeps its containers. Returns `false` if a later call may find more.
    pub fn add_names(&self, workload: &mut Workload, bundle: Option<&Path>) -> bool {
        let root = Root(&self.root);
        match workload.engine {
            Engine::Docker => docker::complete(root, workload),
            Engine::Podman => containers_storage::complete_podman(root, bundle, workload),
            Engine::CriO => containers_storage::complete_crio(root, workload),
            Engine::Containerd | Engine::Nerdctl => oci::complete(root, workload),
            Engine::Cri => {
                oci::complete(root, workload);
                if workload.engine == Engine::Cri {
                    docker::complete(root, workload);
                }
            }
            Engine::Container => {
                docker::complete(root, workload);
                if workload.engine == Engine::Container {
                    oci::complete(root, workload);
                }
            }
            Engine::Lxc => lxc::complete(root, workload),
            Engine::None | Engine::Systemd => return false,
            _ => return true,
        }
        // Of a pod itself, the engines' files say nothing.
        known_name(workload) || (workload.container_id.is_none() && workload.container_name.is_none())
    }
}

fn outermost_of(workload: &mut Workload) -> &mut Workload {
    match workload.outer {
        Some(ref mut outer) => outermost_of(outer),
        None => workload,
    }
}

fn is_scope(workload: &Workload) -> bool {
    workload.unit.as_ref().is_some_and(|unit| unit.bytes().ends_with(b".scope"))
}

/// The root directory of engines.
#[derive(Clone, Copy)]
struct Root<'a>(&'a std::path::Path);

impl Root<'_> {
    fn open(self, below: &str) -> Option<Directory> {
        Directory::open(self.0, below)
    }
}
