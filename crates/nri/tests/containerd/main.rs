//! Plugins of a real containerd.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use knobgate_nri::messages::{Container, Hook, Hooks, OptionalInt, PodSandbox};
use knobgate_nri::{Adjustment, Events, Plugin, PluginId, Rejection, Runtime, SessionError, run};
use knobgate_testing::{Containerd, PRIVATE_KNOBS, Suite, Test, eventually, without_containerd};
use libtest_mimic::Failed;

const TESTS: &[Test] = &[
    ("a_plugin_is_told_of_containers_and_adds_hooks", told),
    ("hooks_that_need_many_frames_arrive", long),
    ("a_rejection_keeps_a_container_from_being_created_or_started", rejected),
    ("a_plugin_is_registered_again_when_the_runtime_restarts", restarted),
    ("a_plugin_that_takes_too_long_is_passed_over_and_registered_again", slow),
];

fn main() -> ExitCode {
    if let Some(ended) = knobgate_testing::in_private_mount_namespace() {
        return ended;
    }
    Suite::new(TESTS).isolated(PRIVATE_KNOBS).with_engine(without_containerd).run()
}

/// What a plugin was asked, with the name of the container.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn push(&self, what: String) {
        self.0.lock().expect("nobody panics").push(what);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics").clone()
    }

    fn wait_for(&self, what: &str) {
        eventually(what, || self.all().iter().any(|asked| asked == what));
    }
}

/// Notes what it is asked. Containers called `uncreatable` and `unstartable` are that, for `slow` it takes too long, and the others
/// get this hook.
struct Recorder {
    asked: Asked,
    hook: Hook,
}

impl Recorder {
    /// Registers one, and waits until it is.
    fn start(containerd: &Containerd, hook: Hook) -> Asked {
        let (asked, socket) = (Asked::default(), containerd.nri_socket());
        let mut plugin = Self { asked: asked.clone(), hook };
        thread::spawn(move || run(&socket, &PluginId::new("test", "10").expect("valid"), &mut plugin));
        asked.wait_for("synchronize 0 0");
        // containerd counts it in only after that.
        eventually("it is registered", || containerd.log().contains("connected and synchronized"));
        asked
    }

    fn event(&self, event: &str, pod: &PodSandbox, container: &Container) {
        self.asked.push(format!("{event} {}/{}/{}", pod.namespace, pod.name, container.name));
    }
}

impl Plugin for Recorder {
    fn events(&self) -> Events {
        Events::CREATE_CONTAINER | Events::START_CONTAINER | Events::STOP_CONTAINER | Events::REMOVE_CONTAINER
    }

    fn connected(&mut self, runtime: &Runtime) {
        self.asked.push(format!("connected {}", runtime.name));
    }

    fn disconnected(&mut self, _: &SessionError) {
        self.asked.push("disconnected".to_owned());
    }

    fn synchronize(&mut self, pods: &[PodSandbox], containers: &[Container]) {
        self.asked.push(format!("synchronize {} {}", pods.len(), containers.len()));
    }

    fn create_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<Adjustment, Rejection> {
        self.event("create", pod, container);
        match &*container.name {
            "uncreatable" => return Err(Rejection::new("this container must not be")),
            "slow" => thread::sleep(Duration::from_millis(2500)),
            _ => {}
        }
        assert_eq!(pod.labels["tier"], "front");
        assert_eq!(container.annotations["io.kubernetes.cri.sandbox-namespace"], "test");
        let hooks = vec![self.hook.clone()];
        Ok(Adjustment { hooks: Hooks { create_runtime: hooks.clone(), poststop: hooks } })
    }

    fn start_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<(), Rejection> {
        self.event("start", pod, container);
        // Its process waits in its cgroup.
        let cgroups =
            fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).map_err(Rejection::new)?;
        let path = &container.linux.as_ref().ok_or(Rejection::new("no cgroup"))?.cgroups_path;
        assert!(cgroups.lines().any(|line| line.strip_prefix("0::") == Some(path)), "{cgroups}");
        if container.name == "unstartable" {
            Err(Rejection::new("this container must not start"))
        } else {
            Ok(())
        }
    }

    fn stop_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<(), Rejection> {
        self.event("stop", pod, container);
        Ok(())
    }

    fn remove_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<(), Rejection> {
        self.event("remove", pod, container);
        Ok(())
    }
}

/// A hook that appends its arguments and the state that it gets to a file.
fn hook(file: &Path, arguments: &[&str]) -> Hook {
    let script = format!("(echo \"$*\"; cat; echo) >>{}", file.display());
    let shell = ["sh", "-c", &script, "hook"];
    let arguments = shell.iter().chain(arguments).map(|&text| text.to_owned());
    Hook {
        path: "/bin/sh".to_owned(),
        args: arguments.collect(),
        env: vec!["PATH=/usr/bin:/bin".to_owned()],
        timeout: Some(OptionalInt { value: 10 }),
    }
}

const LABELS: &[(&str, &str)] = &[("tier", "front")];

fn told() -> Result<(), Failed> {
    let (containerd, files) = (Containerd::start()?, tempfile::tempdir()?);
    let file = files.path().join("hooks");
    let asked = Recorder::start(&containerd, hook(&file, &["one", "two words"]));
    let pod = containerd.pod("web", LABELS)?;
    let id = pod.start("nginx", "sleep 1000")?;
    // It ran before the start was over.
    let ran = fs::read_to_string(&file)?;
    assert!(ran.starts_with("one two words\n{") && ran.contains("\"status\":\"creating\""), "{ran}");
    assert!(ran.contains(&id), "{ran}");
    containerd.cri().stop_container(&id, 0)?;
    containerd.cri().remove_container(&id)?;
    asked.wait_for("remove test/web/nginx");
    let events = ["create", "start", "stop", "remove"].map(|event| format!("{event} test/web/nginx"));
    let about_it: Vec<_> = asked.all().into_iter().filter(|asked| asked.ends_with("/nginx")).collect();
    assert_eq!(about_it, events);
    let ran = fs::read_to_string(&file)?;
    assert!(ran.contains("\"status\":\"stopped\""), "{ran}");
    Ok(())
}

fn long() -> Result<(), Failed> {
    let (containerd, files) = (Containerd::start()?, tempfile::tempdir()?);
    let file = files.path().join("hooks");
    let argument = "x".repeat(50_000);
    let _asked = Recorder::start(&containerd, hook(&file, &[&argument]));
    let id = containerd.pod("web", LABELS)?.start("nginx", "sleep 1000")?;
    assert!(fs::read_to_string(&file)?.starts_with(&format!("{argument}\n")));
    assert_eq!(containerd.oci_config(&id)?.matches(&argument).count(), 2);
    Ok(())
}

fn rejected() -> Result<(), Failed> {
    let (containerd, files) = (Containerd::start()?, tempfile::tempdir()?);
    let asked = Recorder::start(&containerd, hook(&files.path().join("hooks"), &[]));
    let pod = containerd.pod("web", LABELS)?;
    let error = pod.create("uncreatable", "sleep 1000", &[]).unwrap_err().to_string();
    assert!(error.contains("this container must not be"), "{error}");
    let id = pod.create("unstartable", "sleep 1000", &[])?;
    let error = containerd.cri().start_container(&id).unwrap_err().to_string();
    assert!(error.contains("this container must not start"), "{error}");
    assert!(!containerd.cgroup_of(&id).exists(), "its process was removed");
    // The connection goes on.
    pod.start("nginx", "sleep 1000")?;
    assert!(!asked.all().contains(&"disconnected".to_owned()));
    Ok(())
}

fn restarted() -> Result<(), Failed> {
    let (containerd, files) = (Containerd::start()?, tempfile::tempdir()?);
    let asked = Recorder::start(&containerd, hook(&files.path().join("hooks"), &[]));
    containerd.pod("web", LABELS)?.start("nginx", "sleep 1000")?;
    containerd.stop();
    asked.wait_for("disconnected");
    containerd.start_again()?;
    asked.wait_for("synchronize 1 1");
    eventually("it is registered", || containerd.log().matches("connected and synchronized").count() == 2);
    containerd.pod("later", LABELS)?.start("nginx", "sleep 1000")?;
    assert!(asked.all().contains(&"start test/later/nginx".to_owned()), "{:?}", asked.all());
    Ok(())
}

fn slow() -> Result<(), Failed> {
    let (containerd, files) = (Containerd::start()?, tempfile::tempdir()?);
    let file = files.path().join("hooks");
    let asked = Recorder::start(&containerd, hook(&file, &[]));
    let pod = containerd.pod("web", LABELS)?;
    pod.start("slow", "sleep 1000")?;
    // NRI fails open: it runs, and the hooks that would have been added have not run.
    assert!(!file.exists());
    assert!(!asked.all().contains(&"start test/web/slow".to_owned()));
    eventually("it is registered again", || {
        containerd.log().matches("connected and synchronized").count() == 2
    });
    pod.start("nginx", "sleep 1000")?;
    assert!(asked.all().contains(&"start test/web/nginx".to_owned()) && file.exists());
    Ok(())
}
